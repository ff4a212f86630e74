"""Errors classed by what the sender should do next, as the delivery contract needs it.

`Reject` means: never send this again as it is (HTTP 4xx, dead letter at once). `Retry` means: the same
event may succeed later (HTTP 503 with Retry-After). Anything else is a defect and is retried like one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: the field, the value that was found there, and how to mend it."""

    field: str
    value: str
    mend: str

    def __str__(self) -> str:
        return f"{self.field} is {self.value}: {self.mend}"


class Reject(Exception):
    """The event cannot be handled, now or later. Carries every fault at once."""

    def __init__(self, faults: Iterable[Fault] | Fault) -> None:
        self.faults = (faults,) if isinstance(faults, Fault) else tuple(faults)
        super().__init__("; ".join(map(str, self.faults)))


class Retry(Exception):
    """The event may be handled later. `after` is in seconds; `kind` is one word for what is in the way, such
    as Forbidden, where that is known."""

    def __init__(self, reason: str, after: float = 1.0, kind: str = "") -> None:
        self.after, self.kind = after, kind
        super().__init__(reason)


def shown(value: object, limit: int = 80) -> str:
    """The value as an error message shows it: short, quoted, never a wall of text."""
    try:
        text = repr(value)
    except RecursionError:
        text = f"a deep {type(value).__name__}"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
