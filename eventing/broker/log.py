"""The broker's file, read by others while it runs: events, dead letters, and how far each trigger is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ..wire import WireEvent
from .store import connect


@dataclass(frozen=True, slots=True)
class Logged:
    """An accepted event. `accepted` is Unix time."""

    sequence: int
    accepted: float
    event: WireEvent

    def document(self) -> dict[str, Any]:
        """The event in CloudEvents' JSON form, with its place in the log."""
        data = orjson.Fragment(self.event.data) if self.event.data else None
        return {"sequence": self.sequence, **self.event.attributes, "data": data}


@dataclass(frozen=True, slots=True)
class Dead:
    """A dead letter: which trigger gave it up, with which status, and why."""

    number: int
    trigger: str
    destination: str
    code: int | None
    reason: str
    event: WireEvent


class EventLog:
    """Read-only; safe beside a running broker."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path, read_only=True)

    def close(self) -> None:
        self._db.close()

    def events(self, after: int = 0, limit: int = 500) -> list[Logged]:
        """Events behind `after`, oldest first."""
        rows = self._db.execute(
            "SELECT sequence, accepted, attributes, data FROM events WHERE sequence > ?"
            " ORDER BY sequence LIMIT ?",
            (after, limit),
        )
        return [
            Logged(sequence, accepted, WireEvent(orjson.loads(attributes), data))
            for sequence, accepted, attributes, data in rows
        ]

    def dead(self) -> list[Dead]:
        rows = self._db.execute(
            "SELECT number, trigger, destination, code, reason, attributes, data"
            " FROM dead JOIN events USING (sequence) ORDER BY number"
        )
        return [
            Dead(number, trigger, destination, code, reason, WireEvent(orjson.loads(attributes), data))
            for number, trigger, destination, code, reason, attributes, data in rows
        ]

    def lag(self) -> dict[str, int]:
        """How many events lie behind each trigger's cursor."""
        (last,) = self._db.execute("SELECT coalesce(max(sequence), 0) FROM events").fetchone()
        return {
            trigger: last - sequence
            for trigger, sequence in self._db.execute("SELECT trigger, sequence FROM cursors")
        }
