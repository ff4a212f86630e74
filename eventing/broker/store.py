"""The broker's memory: one SQLite file in WAL mode, one writer thread, one fsync per group of changes.

Everybody who wants something written puts it into a queue; the writer takes all that waits, writes it in one
transaction, and tells each of them when the bytes are on disk. A crash loses at most what nobody was told
is safe.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import orjson

from ..wire import WireEvent

VERSION = 1
GROUP = 512
"""So many writes share a transaction at most, so that nobody waits behind a flood."""

_SCHEMA = """
CREATE TABLE events (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  source TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
  attributes BLOB NOT NULL, data BLOB, accepted REAL NOT NULL,
  UNIQUE (source, id, type)
);
-- Everything up to the cursor is done; done holds what was done beyond it, out of order.
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

_APPEND = (
    "INSERT INTO events (source, id, type, attributes, data, accepted) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO NOTHING"
)
_DONE = "INSERT OR IGNORE INTO done VALUES (?, ?)"
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

Write = Sequence[tuple[str, Sequence[tuple[Any, ...]]]]
"""Statements with their rows. Plain data, because a cursor that is dropped in another thread breaks ours."""


class DamagedStore(Exception):
    """The file cannot be used; the message says why and what mends it."""


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the file. Raises DamagedStore for one that a newer Homeostat wrote, or that is no database."""
    address = f"{path.resolve().as_uri()}{'?mode=ro' if read_only else ''}"
    db = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if not read_only:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            if version == 0:
                db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    except sqlite3.DatabaseError as error:
        db.close()
        raise DamagedStore(f"{path}: {error}; move it away, a fresh one is made") from None
    if version > VERSION:
        db.close()
        raise DamagedStore(f"{path} was written by a newer Homeostat (schema {version}); upgrade this one")
    return db


class BrokerStore:
    """Writes through one thread; reads on a connection of their own."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = connect(path)
        self._reader = connect(path)
        self._reading = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[Write, Future[int]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="broker-writer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, then close."""
        self._queue.put(None)
        self._thread.join()
        self._db.close()
        with self._reading:
            self._reader.close()

    # --- writing -----------------------------------------------------------------------------------------
    async def append(self, events: Sequence[WireEvent]) -> int:
        """Store events; returns how many were new, once they are on disk."""
        rows = [
            (*event.key, orjson.dumps(dict(event.attributes)), event.data, time.time()) for event in events
        ]
        return await asyncio.wrap_future(self._submit([(_APPEND, rows)]))

    async def finished(self, trigger: str, sequence: int) -> None:
        """The event needs no more deliveries to this trigger."""
        row = [(trigger, sequence)]
        await asyncio.wrap_future(self._submit([(_DONE, row), (_FORGET_ATTEMPTS, row)]))

    def advanced(self, trigger: str, sequence: int) -> None:
        """Everything up to `sequence` is done. Need not be on disk: what it replaces is."""
        row = [(trigger, sequence)]
        self._submit([(_ADVANCE, row), (_FORGET_DONE, row)])

    async def failed(self, trigger: str, sequence: int, count: int, next_at: float) -> None:
        """Attempt number `count` failed; the next one is due at `next_at` (Unix time)."""
        await asyncio.wrap_future(self._submit([(_ATTEMPT, [(trigger, sequence, count, next_at)])]))

    async def bury(
        self, trigger: str, sequence: int, destination: str, code: int | None, reason: str
    ) -> None:
        """Keep the event as a dead letter, and be done with it."""
        row = [(trigger, sequence)]
        letter = [(trigger, sequence, destination, code, reason, time.time())]
        await asyncio.wrap_future(self._submit([(_BURY, letter), (_DONE, row), (_FORGET_ATTEMPTS, row)]))

    def _submit(self, write: Write) -> Future[int]:
        future: Future[int] = Future()
        self._queue.put((write, future))
        return future

    def _write_all(self) -> None:
        while True:
            first = self._queue.get()
            group = [first]
            while len(group) < GROUP and not self._queue.empty():
                group.append(self._queue.get())
            writes = [one for one in group if one is not None]
            if writes:
                self._commit(writes)
            if len(writes) < len(group):
                return

    def _commit(self, writes: list[tuple[Write, Future[int]]]) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            results = [self._changes(write) for write, _ in writes]
            self._db.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            for _, future in writes:
                future.set_exception(error)
            return
        for (_, future), result in zip(writes, results, strict=True):
            future.set_result(result)

    def _changes(self, write: Write) -> int:
        before = self._db.total_changes
        for statement, rows in write:
            self._db.executemany(statement, rows)
        return self._db.total_changes - before

    # --- reading -----------------------------------------------------------------------------------------
    def page(self, after: int, limit: int) -> list[tuple[int, float, WireEvent]]:
        """Events behind `after`, in the order of their acceptance."""
        with self._reading:
            rows = self._reader.execute(
                "SELECT sequence, accepted, attributes, data FROM events WHERE sequence > ?"
                " ORDER BY sequence LIMIT ?",
                (after, limit),
            ).fetchall()
        return [
            (sequence, accepted, WireEvent(orjson.loads(attributes), data))
            for sequence, accepted, attributes, data in rows
        ]

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
