"""What was answered and what labels said of it, in SQLite: rows wait for their labels, and for a while labels
for their rows.

A batch of events is one transaction, and each event counts once however often it is delivered. Of each
detector the newest answers are kept. Where a row gets several labels, the one that was given last counts: by
the time of its event, then by its arrival.
"""

from __future__ import annotations

import sqlite3
import threading
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from homeostat.eventing.errors import Fault, Reject
from homeostat.functions.labels import Label

from ..transaction import transaction
from .label_bounds import Limits, count, trim, trim_labels
from .label_schema import schema
from .scored_rows import Answered, Counts, labelled

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Kept:
    """An event that is put down: of `detector`, known by `source` and `id`, that happened `at` and came
    `now`."""

    detector: str
    source: str
    id: str
    at: datetime
    now: datetime
    what: Answered | Label


@dataclass(frozen=True, slots=True)
class Found:
    """What labels say of a revision's rows, asked about between the two times."""

    counts: Counts
    since: datetime
    until: datetime


class LabelBook:
    """Thread-safe; one writer per file."""

    def __init__(self, db: Path, limits: Limits | None = None) -> None:
        db.parent.mkdir(parents=True, exist_ok=True)
        self._limits = limits or Limits()
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._db, self._reader = (
            sqlite3.connect(db, check_same_thread=False, isolation_level=None, timeout=30) for _ in range(2)
        )
        schema(self._db)

    def close(self) -> None:
        with self._lock, self._reading:
            self._db.close()
            self._reader.close()

    # --- putting down ------------------------------------------------------------------------------------
    def put(self, batch: Sequence[Kept]) -> list[Reject | None]:
        """Commit them together; what is refused is told in its place and leaves nothing behind."""
        with self._lock, transaction(self._db):
            refused = [self._put(one) for one in batch]
            for name, now in {one.detector: one.now for one in batch}.items():
                trim(self._db, self._limits, name, _micros(now), _micros(now - self._limits.age))
            return refused

    def _put(self, one: Kept) -> Reject | None:
        if isinstance(one.what, Label):
            return self._label(one, one.what)
        self._answer(one, one.what)
        return None

    def _answer(self, one: Kept, what: Answered) -> None:
        at, name = _micros(one.at), one.detector
        done = self._db.execute(
            "INSERT OR IGNORE INTO answers (detector, request, source, own, series, at, revision, rows, n)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (name, one.id, one.source, what.own, what.series, at, what.revision, what.rows, len(what.rows)),
        )
        if not done.rowcount:
            return
        number = done.lastrowid
        count(self._db, name, answers=1, rows=len(what.rows))
        for waited, label, time in self._waiting(name, (one.id, what.own), what.series, at):
            if self._apply(name, number, label, time):
                self._db.execute("UPDATE labels SET matched = 1 WHERE number = ?", (waited,))

    def _waiting(
        self, name: str, requests: Sequence[str], series: str, at: int
    ) -> list[tuple[int, Label, int]]:
        """Numbers, labels and times of those that came before the answer, in the order of their coming."""
        columns = "number, rows, anomalous, time"
        found = self._db.execute(
            f"SELECT {columns} FROM labels WHERE detector = ?1 AND request <> '' AND request IN (?2, ?3)"  # noqa: S608
            f" UNION SELECT {columns} FROM labels WHERE detector = ?1 AND request = '' AND series = ?4"
            " AND ends > ?5 AND starts <= ?5 ORDER BY number",
            (name, requests[0], requests[1] or requests[0], series, at),
        ).fetchall()
        return [
            (number, Label(bool(anomalous), rows=_places(rows)), time)
            for number, rows, anomalous, time in found
        ]

    def _label(self, one: Kept, label: Label) -> Reject | None:
        name, time = one.detector, _micros(min(one.at, one.now))
        numbers = self._spoken_of(name, label)
        if fault := self._outside(label, numbers):
            return Reject(fault)
        done = self._db.execute(
            "INSERT OR IGNORE INTO labels (detector, source, id, request, rows, series, starts, ends,"
            " anomalous, time, until, matched) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(name, one.source, one.id, label.request, ",".join(map(str, label.rows)), label.series),
                *(_micros(label.start), _micros(label.end), label.anomalous, time),
                *(_micros(one.now + self._limits.wait), bool(numbers)),
            ),
        )
        if done.rowcount:
            for number, _ in numbers:
                self._apply(name, number, label, time)
        return None

    def _spoken_of(self, name: str, label: Label) -> list[tuple[int, int]]:
        """Numbers and rows of the answers that a label is about, in the order of their coming."""
        select = "SELECT number, n FROM answers WHERE detector = ?1 AND"
        if label.request:
            # Sorted here: asked to sort, SQLite would walk through all of the detector's answers.
            query = f"{select} request = ?2 UNION {select} own <> '' AND own = ?2"
            return sorted(self._db.execute(query, (name, label.request)))
        query = f"{select} series = ?2 AND at >= ?3 AND at < ?4"
        return sorted(self._db.execute(query, (name, label.series, *_interval(label))))

    def _outside(self, label: Label, numbers: Sequence[tuple[int, int]]) -> Fault | None:
        most = max((n for _, n in numbers), default=None)
        if most is None or not label.rows or label.rows[-1] < most:
            return None
        mend = f"the request had {most} rows: give places from 0 to {most - 1}"
        return Fault("data.rows", str(label.rows[-1]), mend)

    def _apply(self, name: str, number: int | None, label: Label, time: int) -> bool:
        """False for a label of rows that the answer has not."""
        revision, before, stamped = self._db.execute(
            "SELECT revision, rows, stamps FROM answers WHERE number = ?", (number,)
        ).fetchone()
        rows, stamps = bytearray(before), array("q", stamped or bytes(8 * len(before)))
        places = [place for place in label.rows or range(len(rows)) if place < len(rows)]
        errors = bytearray()
        for place in places:
            if stamps[place] > time:
                continue
            if not stamps[place]:
                errors.append((rows[place] & 1) != label.anomalous)
            rows[place], stamps[place] = labelled(rows[place], label.anomalous), time
        self._db.execute(
            "UPDATE answers SET rows = ?, stamps = ?, labelled = 1 WHERE number = ?",
            (bytes(rows), stamps.tobytes(), number),
        )
        count(self._db, name, changes=1)
        if errors:
            self._db.execute(
                "INSERT INTO errors (detector, revision, errors) VALUES (?, ?, ?)",
                (name, revision, bytes(errors)),
            )
        return bool(places)

    # --- looking up --------------------------------------------------------------------------------------
    def unmatched(self, name: str, now: datetime) -> int:
        """Labels that were given up so far, because no row came that they fit."""
        with self._lock, transaction(self._db):
            trim_labels(self._db, self._limits, name, _micros(now))
        with self._reading:
            return int(self._counted(name, "unmatched"))

    def changes(self, name: str) -> int:
        """Another number whenever labels of kept rows may say something else."""
        with self._reading:
            return int(self._counted(name, "changes"))

    def _counted(self, name: str, column: str) -> int:
        query = f"SELECT {column} FROM counts WHERE detector = ?"  # noqa: S608
        return (self._reader.execute(query, (name,)).fetchone() or (0,))[0]

    def found(self, name: str, revision: str) -> Found | None:
        """What labels say of the revision's rows; None where no row has one."""
        of = "WHERE detector = ? AND revision = ?"
        with self._reading:
            since, until = self._reader.execute(
                f"SELECT min(at), max(at) FROM answers {of} AND labelled",  # noqa: S608
                (name, revision),
            ).fetchone()
            if since is None:
                return None
            counts, series = Counts(), dict[str, list[bytes]]()
            for one, rows in self._reader.execute(
                f"SELECT series, rows FROM answers {of} ORDER BY number",  # noqa: S608
                (name, revision),
            ):
                series.setdefault(one, []).append(rows)
        for parts in series.values():
            counts.add(parts)
        return Found(counts, _time(since), _time(until))

    def errors(self, name: str, revision: str, after: int = 0) -> list[tuple[int, bytes]]:
        """Numbers above `after`, each with a byte per row that then got its first label: 1 where the revision
        was wrong, 0 where it was right. Labels come in their order of arrival, and one that is corrected
        later stays here what it was. Only the newest are kept."""
        query = "SELECT number, errors FROM errors WHERE detector = ? AND revision = ? AND number > ?"
        with self._reading:
            return self._reader.execute(f"{query} ORDER BY number", (name, revision, after)).fetchall()


def _places(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(","))) if text else ()


def _interval(label: Label) -> tuple[int, int]:
    return _micros(label.start), _micros(label.end)


def _micros(time: datetime | None) -> int:
    return (time - EPOCH) // _MICROSECOND if time else 0


def _time(micros: int) -> datetime:
    return EPOCH + micros * _MICROSECOND
