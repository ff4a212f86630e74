"""The doors by name, and what each asks of those who come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .limits import Rate

if TYPE_CHECKING:
    from .oidc import Oidc

DOORS = ("broker", "alertmanager", "grafana", "storage", "events", "serving", "admin")
"""Every door that a token can be for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One door. `rate` is for each client alone, `total` for all that come in together.

    `max_body` overrides the guard's own. `open_methods` need no credential: OPTIONS, where a sender asks
    before it delivers (CloudEvents' HTTP webhooks, section 4) and has no token to ask with.
    """

    name: str
    rate: Rate | None = None
    total: Rate | None = None
    max_body: int | None = None
    open_methods: frozenset[str] = frozenset()
    oidc: Oidc | None = None
