"""What the doors of both homes have in common: which of the gateway's paths leads to which, and how often."""

from __future__ import annotations

import os
from collections.abc import Iterable

from homeostat.eventing.doors import Door, Rate
from homeostat.eventing.doors.oidc import configured

GATEWAY = {
    "/alertmanager": "alertmanager",
    "/grafana": "grafana",
    "/storage": "storage",
    "/events": "events",
    "/unmatched": "admin",
    "/openapi.json": "admin",
}
"""The gateway's paths, below wherever it is mounted."""
ASKED = frozenset({"storage", "events"})
"""Doors whose senders ask with OPTIONS before they deliver (CloudEvents' HTTP webhooks, section 4)."""
IDENTIFIED = ("broker", "storage", "events")
"""Doors that Knative's own senders come to, which show an OIDC token of their ServiceAccount."""

RATES = {
    "broker": 2000.0,
    "serving": 2000.0,
    "events": 1000.0,
    "storage": 500.0,
    "alertmanager": 50.0,
    "grafana": 50.0,
    "admin": 50.0,
}
"""Requests a second of one client, where others can reach the door."""
CROWD = 4
"""How many clients at their full rate a door lets in together."""


def gateway_paths(mount: str) -> dict[str, str]:
    """Door by path, with the gateway at `mount` (an empty string: at the root)."""
    return {f"{mount}{path}": door for path, door in GATEWAY.items()}


def doors_at(rates: dict[str, float], names: Iterable[str]) -> dict[str, Door]:
    """Those doors by name; a rate of 0 is no limit."""
    return {name: _door(name, rates[name]) for name in names}


def _door(name: str, rate: float) -> Door:
    limited = rate > 0
    return Door(
        name=name,
        rate=Rate(rate, max(1.0, 2 * rate)) if limited else None,
        total=Rate(CROWD * rate, max(1.0, 2 * CROWD * rate)) if limited else None,
        open_methods=frozenset({"OPTIONS"}) if name in ASKED else frozenset(),
        oidc=configured(os.environ) if name in IDENTIFIED else None,
    )
