"""The broker's file, read: by the broker itself, and by others while it runs."""

from __future__ import annotations

import base64
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ..wire import WireEvent
from .schema import connect

SMALL_BYTES = 16 * 1024
"""Data up to this size is read along with its page; larger data only when its turn has come."""

Stored = tuple[int, float, WireEvent, bool]
"""Sequence, time of acceptance (Unix time), the event, and whether its data is large and was left on disk."""


@dataclass(frozen=True, slots=True)
class Logged:
    """An accepted event. `accepted` is Unix time."""

    sequence: int
    accepted: float
    event: WireEvent

    def document(self) -> dict[str, Any]:
        """The event in CloudEvents' JSON form, with its place in the log."""
        return {"sequence": self.sequence, **self.event.attributes, **_data(self.event)}


def _data(event: WireEvent) -> dict[str, Any]:
    """As `wire.encode_structured` has it: what is no JSON, whatever it claims to be, would break the rest."""
    media = event.attributes.get("datacontenttype", "application/json").partition(";")[0].strip().lower()
    try:
        if event.data and media.endswith(("/json", "+json")):
            orjson.loads(event.data)
            return {"data": orjson.Fragment(event.data)}
    except orjson.JSONDecodeError:
        pass
    return {"data_base64": base64.b64encode(event.data).decode()} if event.data else {"data": None}


@dataclass(frozen=True, slots=True)
class Dead:
    """A dead letter: which trigger gave it up, when (Unix time), with which status, and why."""

    number: int
    trigger: str
    destination: str
    code: int | None
    reason: str
    at: float
    event: WireEvent


@dataclass(frozen=True, slots=True)
class Position:
    """Where a trigger stands: its cursor, what it did beyond it, the attempts that failed (how many, and when
    the next one is due), what is wanted once more, and whether it rests."""

    cursor: int
    done: set[int]
    tried: dict[int, tuple[int, float]]
    again: list[int]
    paused: bool


class EventLog:
    """Read-only; safe beside a running broker, and from several threads."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path, read_only=True)
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def events(self, after: int = 0, limit: int = 500) -> list[Logged]:
        """Events behind `after`, oldest first."""
        rows = self._rows(
            "SELECT sequence, accepted, attributes, data FROM events WHERE sequence > ?"
            " ORDER BY sequence LIMIT ?",
            after,
            limit,
        )
        return [
            Logged(sequence, accepted, WireEvent(orjson.loads(attributes), data))
            for sequence, accepted, attributes, data in rows
        ]

    def page(self, after: int, limit: int) -> list[Stored]:
        """Events behind `after`, oldest first. Large data is left on disk."""
        rows = self._rows(
            "SELECT sequence, accepted, attributes, coalesce(length(data), 0) > ?,"
            " CASE WHEN length(data) <= ? THEN data END FROM events WHERE sequence > ?"
            " ORDER BY sequence LIMIT ?",
            SMALL_BYTES,
            SMALL_BYTES,
            after,
            limit,
        )
        return [
            (sequence, accepted, WireEvent(orjson.loads(attributes), data), bool(large))
            for sequence, accepted, attributes, large, data in rows
        ]

    def event(self, sequence: int) -> Logged | None:
        """One event, whole; None once it is gone."""
        found = self.events(sequence - 1, 1)
        return found[0] if found and found[0].sequence == sequence else None

    def dead(self) -> list[Dead]:
        rows = self._rows(
            "SELECT number, trigger, destination, code, reason, at, attributes, data"
            " FROM dead JOIN events USING (sequence) ORDER BY number"
        )
        return [
            Dead(number, trigger, destination, code, reason, at, WireEvent(orjson.loads(attributes), data))
            for number, trigger, destination, code, reason, at, attributes, data in rows
        ]

    def lag(self) -> dict[str, int]:
        """How many events lie behind each trigger's cursor."""
        ((last,),) = self._rows("SELECT coalesce(max(sequence), 0) FROM events")
        return {
            trigger: max(0, last - sequence)
            for trigger, sequence in self._rows("SELECT trigger, sequence FROM cursors")
        }

    def before(self, accepted: float) -> int:
        """The last sequence that was accepted before this Unix time; 0 if there is none."""
        # Accepted in order, so a search by halves: an index would cost every event.
        ((low, high),) = self._rows("SELECT coalesce(min(sequence), 0) - 1, max(sequence) FROM events")
        while high is not None and low < high:
            middle = (low + high + 1) // 2
            ((at,),) = self._rows(
                "SELECT coalesce((SELECT accepted FROM events WHERE sequence <= ? ORDER BY sequence DESC"
                " LIMIT 1), 0)",
                middle,
            )
            low, high = (middle, high) if at < accepted else (low, middle - 1)
        return max(0, int(low))

    def forgettable(self, up_to: int, limit: int) -> list[int]:
        """The oldest events up to that sequence that nobody wants again, and that are no dead letters."""
        rows = self._rows(
            "SELECT sequence FROM events WHERE sequence <= ? AND sequence NOT IN (SELECT sequence FROM dead)"
            " AND sequence NOT IN (SELECT sequence FROM again) ORDER BY sequence LIMIT ?",
            up_to,
            limit,
        )
        return [sequence for (sequence,) in rows]

    def size(self) -> int:
        """Bytes in use, the journal not counted."""
        ((pages,),) = self._rows(
            "SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count"
        )
        ((bytes_each,),) = self._rows("SELECT page_size FROM pragma_page_size")
        return int(pages * bytes_each)

    def wanted_again(self, trigger: str, limit: int = 1000) -> list[int]:
        """The oldest events that the trigger is to deliver once more."""
        rows = self._rows(
            "SELECT sequence FROM again WHERE trigger = ? ORDER BY sequence LIMIT ?", trigger, limit
        )
        return [sequence for (sequence,) in rows]

    def paused(self) -> set[str]:
        """The triggers that rest."""
        return {trigger for (trigger,) in self._rows("SELECT trigger FROM cursors WHERE paused")}

    def position(self, trigger: str) -> Position:
        cursor = self._rows("SELECT sequence FROM cursors WHERE trigger = ?", trigger)
        done = self._rows("SELECT sequence FROM done WHERE trigger = ?", trigger)
        tried = self._rows("SELECT sequence, count, next FROM attempts WHERE trigger = ?", trigger)
        return Position(
            cursor=cursor[0][0] if cursor else 0,
            done={sequence for (sequence,) in done},
            tried={sequence: (count, due) for sequence, count, due in tried},
            again=self.wanted_again(trigger),
            paused=trigger in self.paused(),
        )
