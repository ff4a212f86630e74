"""The broker's memory: one SQLite file in WAL mode, one writer thread, one fsync per group of changes.

Everybody who wants something written puts it into a queue; the writer takes all that waits, writes it in one
transaction, and tells each of them when the bytes are on disk. A crash loses at most what nobody was told
is safe.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ..errors import Retry
from ..wire import WireEvent

log = logging.getLogger(__name__)

VERSION = 1
GROUP = 512
"""So many writes share a transaction at most, so that nobody waits behind a flood."""
CHUNK = 128
"""So many rows are inserted by one statement at most."""
SMALL_BYTES = 16 * 1024
"""Data up to this size is read along with its page; larger data only when its turn has come."""

_SCHEMA = """
CREATE TABLE events (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  source TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
  attributes BLOB NOT NULL, data BLOB, accepted REAL NOT NULL,
  UNIQUE (source, id, type)
);
-- Everything up to the cursor is done, and done holds what was done beyond it, out of order.
CREATE TABLE cursors (trigger TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE done (trigger TEXT, sequence INTEGER, PRIMARY KEY (trigger, sequence)) WITHOUT ROWID;
CREATE TABLE attempts (
  trigger TEXT, sequence INTEGER, count INTEGER NOT NULL, next REAL NOT NULL,
  PRIMARY KEY (trigger, sequence)
) WITHOUT ROWID;
CREATE TABLE dead (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  trigger TEXT NOT NULL, sequence INTEGER NOT NULL, destination TEXT NOT NULL,
  code INTEGER, reason TEXT NOT NULL, at REAL NOT NULL,
  UNIQUE (trigger, sequence)
);
"""

_APPEND = "INSERT INTO events (source, id, type, attributes, data, accepted) VALUES {} ON CONFLICT DO NOTHING"
_DONE = "INSERT OR IGNORE INTO done VALUES {}"
_FORGET_DONE = "DELETE FROM done WHERE trigger = ? AND sequence <= ?"
_ADVANCE = "INSERT INTO cursors VALUES (?, ?) ON CONFLICT DO UPDATE SET sequence = excluded.sequence"
_ATTEMPT = (
    "INSERT INTO attempts VALUES (?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET count = excluded.count, next = excluded.next"
)
_FORGET_ATTEMPTS = "DELETE FROM attempts WHERE trigger = ? AND sequence = ?"
_BURY = (
    "INSERT OR IGNORE INTO dead (trigger, sequence, destination, code, reason, at) VALUES (?, ?, ?, ?, ?, ?)"
)
# A trigger that joins a log begins at its end, as on a cluster; the first ones begin where the log begins.
_REGISTER = (
    "INSERT OR IGNORE INTO cursors SELECT ?, CASE WHEN ? THEN (SELECT coalesce(max(sequence), 0)"
    " FROM events) ELSE 0 END"
)

Row = tuple[Any, ...]
Stored = tuple[int, float, WireEvent, bool]
"""Sequence, time of acceptance (Unix time), the event, and whether its data is large and was left on disk."""


class DamagedStore(Exception):
    """The file cannot be used; the message says why and what mends it."""


@dataclass(frozen=True, slots=True)
class _Write:
    """What one caller wants written: events, or statements with a row each."""

    events: Sequence[WireEvent] = ()
    changes: Sequence[tuple[str, Row]] = ()
    waiter: asyncio.Future[int] | None = None


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the file. Raises DamagedStore for one that a newer Homeostat wrote, or that is no database."""
    address = f"{path.resolve().as_uri()}{'?mode=ro' if read_only else ''}"
    try:
        db = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
    except sqlite3.OperationalError as error:
        raise DamagedStore(f"{path}: {error}; is it there, and may you read it?") from None
    try:
        version = _prepare(db, read_only)
    except sqlite3.OperationalError as error:
        db.close()
        # Locked, full, forbidden: the file itself may be whole, so nobody is told to throw it away.
        raise DamagedStore(f"{path}: {error}; mend that, the events in it are safe") from None
    except sqlite3.DatabaseError as error:
        db.close()
        raise DamagedStore(f"{path}: {error}; move it away, a fresh one is made") from None
    if version > VERSION:
        db.close()
        raise DamagedStore(f"{path} was written by a newer Homeostat (schema {version}); upgrade this one")
    return db


def _prepare(db: sqlite3.Connection, read_only: bool) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if read_only:
        return int(version)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    if version == 0:
        db.execute("BEGIN IMMEDIATE")
        # Another process may have been first.
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    return int(version)


class BrokerStore:
    """Writes through one thread, reads on a connection of its own. Its methods belong to one event loop."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._db = connect(path)
        self._reader = connect(path)
        self._reading = threading.Lock()
        (self.last,) = self._db.execute("SELECT coalesce(max(sequence), 0) FROM events").fetchone()
        self.listeners: list[Callable[[int, Sequence[Stored]], None]] = []
        """Told of new events, in the order of their sequence: what was the last one before, and the new."""
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="broker-writer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, then close. Later writes raise Retry."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._db.close()
        with self._reading:
            self._reader.close()

    # --- writing -----------------------------------------------------------------------------------------
    async def append(self, events: Sequence[WireEvent]) -> int:
        """Store events; returns how many were new, once they are on disk. Raises Retry if they cannot be."""
        return await self._submit(events=events)

    async def register(self, triggers: Sequence[str]) -> None:
        """Give a cursor to triggers that have none."""
        joining = self._reader.execute("SELECT EXISTS (SELECT 1 FROM cursors)").fetchone()[0]
        await self._submit(changes=[(_REGISTER, (trigger, joining)) for trigger in triggers])

    async def finished(self, trigger: str, sequence: int, *, tried: bool) -> None:
        """The event needs no more deliveries to this trigger. `tried`: attempts at it had failed."""
        row = (trigger, sequence)
        await self._submit(changes=[(_DONE, row), (_FORGET_ATTEMPTS, row)] if tried else [(_DONE, row)])

    def advanced(self, trigger: str, sequence: int) -> None:
        """Everything up to `sequence` is done. Need not be on disk: what it replaces is."""
        row = (trigger, sequence)
        if not self._closed:
            self._queue.put(_Write(changes=[(_ADVANCE, row), (_FORGET_DONE, row)]))

    async def failed(self, trigger: str, sequence: int, count: int, next_at: float) -> None:
        """Attempt number `count` failed; the next one is due at `next_at` (Unix time)."""
        await self._submit(changes=[(_ATTEMPT, (trigger, sequence, count, next_at))])

    async def bury(
        self, trigger: str, sequence: int, destination: str, code: int | None, reason: str
    ) -> None:
        """Keep the event as a dead letter, and be done with it."""
        row = (trigger, sequence)
        letter = (trigger, sequence, destination, code, reason, time.time())
        await self._submit(changes=[(_BURY, letter), (_DONE, row), (_FORGET_ATTEMPTS, row)])

    async def _submit(self, events: Sequence[WireEvent] = (), changes: Sequence[tuple[str, Row]] = ()) -> int:
        if self._closed:
            raise Retry("the broker has stopped")
        self._loop = asyncio.get_running_loop()
        waiter: asyncio.Future[int] = self._loop.create_future()
        self._queue.put(_Write(events, changes, waiter))
        # Who stops waiting (a timeout, a sender that went away) leaves a write that is done all the same.
        return await waiter

    def _write_all(self) -> None:
        while True:
            group = [self._queue.get()]
            while len(group) < GROUP and not self._queue.empty():
                group.append(self._queue.get())
            writes = [one for one in group if one is not None]
            if writes:
                self._commit(writes)
            if len(writes) < len(group):
                return

    def _commit(self, writes: Sequence[_Write]) -> None:
        outcome: list[int] | Retry
        try:
            self._db.execute("BEGIN IMMEDIATE")
            outcome, stored = self._append_all(writes)
            self._change_all(writes)
            self._db.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            log.error("%s cannot be written: %s", self.path, error)
            outcome, stored = Retry(f"the broker's disk: {error}"), []
        if self._loop is not None:
            # A loop that is closed has nobody left who waits.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._tell, writes, outcome, stored)

    def _tell(self, writes: Sequence[_Write], outcome: list[int] | Retry, stored: Sequence[Stored]) -> None:
        """On the loop, once per group: answer those who wait, and hand the new events on."""
        for place, write in enumerate(writes):
            if write.waiter is None or write.waiter.done():
                continue
            if isinstance(outcome, Retry):
                write.waiter.set_exception(outcome)
            else:
                write.waiter.set_result(outcome[place])
        if stored:
            before, self.last = self.last, stored[-1][0]
            for listen in self.listeners:
                listen(before, stored)

    def _append_all(self, writes: Sequence[_Write]) -> tuple[list[int], list[Stored]]:
        """How many events of each write were new, and the new ones."""
        now = time.time()
        events = [(place, event) for place, write in enumerate(writes) for event in write.events]
        counts, stored = [0] * len(writes), []
        for chunk in _chunks(events):
            sequences = self._append(
                [(*event.key, orjson.dumps(dict(event.attributes)), event.data, now) for _, event in chunk]
            )
            for (place, event), sequence in zip(chunk, sequences, strict=True):
                if sequence is not None:
                    counts[place] += 1
                    stored.append((sequence, now, event, False))
        return counts, stored

    def _append(self, rows: Sequence[Row]) -> list[int | None]:
        """Insert; returns each row's sequence, None for a duplicate."""
        (last,) = self._db.execute("SELECT coalesce(max(sequence), 0) FROM events").fetchone()
        inserted = self._insert(_APPEND, rows)
        if inserted.rowcount == len(rows) and inserted.lastrowid is not None:
            return list(range(inserted.lastrowid - len(rows) + 1, inserted.lastrowid + 1))
        found = self._db.execute("SELECT source, id, type, sequence FROM events WHERE sequence > ?", (last,))
        fresh = {key: sequence for *key_parts, sequence in found if (key := tuple(key_parts))}
        # Twins in one group: the first is the new one.
        return [fresh.pop(row[:3], None) for row in rows]

    def _change_all(self, writes: Sequence[_Write]) -> None:
        """Statement by statement. Changes of one event are never in one group: each is waited for."""
        rows: dict[str, list[Row]] = {}
        for write in writes:
            for statement, row in write.changes:
                rows.setdefault(statement, []).append(row)
        for chunk in _chunks(rows.pop(_DONE, [])):
            self._insert(_DONE, chunk)
        for statement, many in rows.items():
            self._db.executemany(statement, many)

    def _insert(self, statement: str, rows: Sequence[Row]) -> sqlite3.Cursor:
        """Many rows at once: SQLite lets go of the GIL at each step, and a busy loop gives it back late."""
        row = f"({','.join('?' * len(rows[0]))})"
        values = [value for one in rows for value in one]
        return self._db.execute(statement.format(",".join([row] * len(rows))), values)

    # --- reading -----------------------------------------------------------------------------------------
    def page(self, after: int, limit: int) -> list[Stored]:
        """Events behind `after`, in the order of their acceptance. Large data is left on disk."""
        with self._reading:
            rows = self._reader.execute(
                "SELECT sequence, accepted, attributes, coalesce(length(data), 0) > ? AS large,"
                " CASE WHEN length(data) <= ? THEN data END FROM events WHERE sequence > ?"
                " ORDER BY sequence LIMIT ?",
                (SMALL_BYTES, SMALL_BYTES, after, limit),
            ).fetchall()
        return [
            (sequence, accepted, WireEvent(orjson.loads(attributes), data), bool(large))
            for sequence, accepted, attributes, large, data in rows
        ]

    def event(self, sequence: int) -> WireEvent:
        """One event, whole."""
        with self._reading:
            attributes, data = self._reader.execute(
                "SELECT attributes, data FROM events WHERE sequence = ?", (sequence,)
            ).fetchone()
        return WireEvent(orjson.loads(attributes), data)

    def position(self, trigger: str) -> tuple[int, set[int], dict[int, tuple[int, float]]]:
        """Where the trigger stands: its cursor, what it did beyond it, and the attempts that failed."""
        with self._reading:
            row = self._reader.execute(
                "SELECT sequence FROM cursors WHERE trigger = ?", (trigger,)
            ).fetchone()
            done = self._reader.execute("SELECT sequence FROM done WHERE trigger = ?", (trigger,)).fetchall()
            tried = self._reader.execute(
                "SELECT sequence, count, next FROM attempts WHERE trigger = ?", (trigger,)
            ).fetchall()
        return (
            row[0] if row else 0,
            {sequence for (sequence,) in done},
            {sequence: (count, due) for sequence, count, due in tried},
        )


def _chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut into powers of two, so that a handful of statements is prepared once and used ever after."""
    start = 0
    while start < len(rows):
        size = min(CHUNK, 1 << ((len(rows) - start).bit_length() - 1))
        yield rows[start : start + size]
        start += size
