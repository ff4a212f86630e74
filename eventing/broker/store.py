"""The broker's memory: one SQLite file in WAL mode, one writer thread, one fsync per group of changes.

Whatever is wanted while the event loop goes round once is one group; the writer takes all groups that wait,
writes them in one transaction, and then those who wait are told that the bytes are on disk. A crash loses at
most what nobody was told is safe.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ..errors import Retry
from ..wire import WireEvent
from .duplicates import RELOADED, Duplicates
from .log import EventLog, Stored
from .schema import connect, repaired

log = logging.getLogger(__name__)

GROUPS = 64
"""So many groups share a transaction at most, so that nobody waits behind a flood."""
CHUNK = 64
"""So many rows are inserted by one statement at most: SQLite lets go of the GIL at each statement, and a busy
loop gives it back late."""
MOST_WAITING = 20_000
"""So many events may wait for the disk; then senders are asked to come again."""

_COMPACT = "PRAGMA incremental_vacuum(2000)"  # so many free pages are given back at a time
_APPEND = "INSERT INTO events VALUES {}"
_DONE = "INSERT OR IGNORE INTO done VALUES {}"
_FORGET = "DELETE FROM events WHERE sequence = ?"
_FORGET_DONE = "DELETE FROM done WHERE trigger = ? AND sequence <= ?"
_ADVANCE = (
    "INSERT INTO cursors (trigger, sequence) VALUES (?, ?)"
    " ON CONFLICT DO UPDATE SET sequence = excluded.sequence"
)
_ATTEMPT = (
    "INSERT INTO attempts VALUES (?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET count = excluded.count, next = excluded.next"
)
_FORGET_ATTEMPTS = "DELETE FROM attempts WHERE trigger = ? AND sequence = ?"
_FORGET_AGAIN = "DELETE FROM again WHERE trigger = ? AND sequence = ?"
_BURY = (
    "INSERT OR IGNORE INTO dead (trigger, sequence, destination, code, reason, at) VALUES (?, ?, ?, ?, ?, ?)"
)
# A trigger that joins a log begins at its end, as on a cluster; the first ones begin where the log begins.
_REGISTER = (
    "INSERT OR IGNORE INTO cursors (trigger, sequence)"
    " SELECT ?, CASE WHEN ? THEN (SELECT coalesce(max(sequence), 0) FROM events) ELSE 0 END"
)
# Events may all be gone, by age; their numbers are not given out again.
_LAST = (
    "SELECT max(coalesce((SELECT max(sequence) FROM events), 0),"
    " coalesce((SELECT max(sequence) FROM cursors), 0))"
)

Row = tuple[Any, ...]


@dataclass(slots=True)
class _Group:
    """What is wanted within one turn of the loop: events, statements with their rows, who waits, and whether
    space is to be given back once all is written."""

    events: list[WireEvent] = field(default_factory=list)
    changes: dict[str, list[Row]] = field(default_factory=dict)
    waiters: list[asyncio.Future[None]] = field(default_factory=list)
    compacts: bool = False


class BrokerStore:
    """Writes through one thread; `log` reads. Its methods belong to one event loop."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        repaired(path)
        self.path = path
        self._db = connect(path)
        self.log = EventLog(path)
        (self.last,) = self._db.execute(_LAST).fetchone()
        self._written: int = self.last
        self._duplicates = self._remembered()
        self.accepted = self.duplicates = 0
        """How many events were new, and how many were not, since the start."""
        self.listeners: list[Callable[[int, Sequence[Stored]], None]] = []
        """Told of new events, in the order of their sequence: what was the last one before, and the new."""
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open: _Group | None = None
        self._waiting = 0
        self._queue: queue.SimpleQueue[_Group | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="broker-writer", daemon=True)
        self._thread.start()

    def _remembered(self) -> Duplicates:
        found = self._db.execute(
            "SELECT attributes FROM events WHERE sequence > ? ORDER BY sequence", (self.last - RELOADED,)
        )
        duplicates = Duplicates()
        for (attributes,) in found:
            duplicates.add(orjson.loads(attributes))
        return duplicates

    def close(self) -> None:
        """Write what waits, then close. Later writes raise Retry."""
        self._closed = True
        if self._open is not None:
            self._queue.put(self._open)
            self._open = None
        self._queue.put(None)
        self._thread.join()
        # The last to close moves the journal into the file, which who only reads cannot do.
        self.log.close()
        self._db.close()

    # --- writing -----------------------------------------------------------------------------------------
    async def append(self, events: Sequence[WireEvent]) -> None:
        """Store events; returns once they are on disk. Duplicates are taken and forgotten.

        Raises Retry if they cannot be stored, or if too many wait already.
        """
        if self._waiting + len(events) > MOST_WAITING and self._waiting:
            raise Retry(f"{self._waiting} events wait for the disk", after=1)
        group = self._open or self._group()
        group.events.extend(events)
        self._waiting += len(events)
        await self._told(group)

    async def register(self, triggers: Sequence[str]) -> None:
        """Give a cursor to triggers that have none."""
        joining = bool(self.log.lag())
        await self._changed(*((_REGISTER, (trigger, joining)) for trigger in triggers))

    async def finished(self, trigger: str, sequence: int, tried: bool, again: bool) -> None:
        """The event needs no more deliveries to this trigger. `tried`: attempts at it had failed. `again`: it
        lies behind the cursor, and was wanted once more."""
        row = (trigger, sequence)
        await self._changed(
            (_FORGET_AGAIN if again else _DONE, row), *([(_FORGET_ATTEMPTS, row)] if tried else [])
        )

    def advanced(self, trigger: str, sequence: int) -> None:
        """Everything up to `sequence` is done. Need not be on disk: what it replaces is."""
        if not self._closed:
            row = (trigger, sequence)
            self._change(self._group(), ((_ADVANCE, row), (_FORGET_DONE, row)))

    async def failed(self, trigger: str, sequence: int, count: int, next_at: float) -> None:
        """Attempt number `count` failed; the next one is due at `next_at` (Unix time)."""
        await self._changed((_ATTEMPT, (trigger, sequence, count, next_at)))

    async def bury(
        self, trigger: str, sequence: int, destination: str, code: int | None, reason: str, again: bool
    ) -> None:
        """Keep the event as a dead letter, and be done with it."""
        row = (trigger, sequence)
        letter = (trigger, sequence, destination, code, reason, time.time())
        await self._changed(
            (_BURY, letter), (_FORGET_AGAIN if again else _DONE, row), (_FORGET_ATTEMPTS, row)
        )

    async def forget(self, sequences: Sequence[int]) -> None:
        """Delete events, and give their space back. Raises Retry if they cannot be deleted."""
        group = self._group()
        self._change(group, [(_FORGET, (sequence,)) for sequence in sequences])
        group.compacts = True
        await self._told(group)

    def _group(self) -> _Group:
        """The group of this turn of the loop; the writer gets it when the turn ends."""
        if self._closed:
            raise Retry("the broker has stopped")
        if self._open is None:
            self._loop = asyncio.get_running_loop()
            self._open = _Group()
            self._loop.call_soon(self._hand_over)
        return self._open

    def _hand_over(self) -> None:
        if self._open is not None and not self._closed:
            self._queue.put(self._open)
            self._open = None

    async def _changed(self, *changes: tuple[str, Row]) -> None:
        group = self._group()
        self._change(group, changes)
        await self._told(group)

    @staticmethod
    def _change(group: _Group, changes: Sequence[tuple[str, Row]]) -> None:
        for statement, row in changes:
            group.changes.setdefault(statement, []).append(row)

    def _told(self, group: _Group) -> asyncio.Future[None]:
        """Done once the group is on disk. Who stops waiting (a timeout, a sender that went away) leaves a
        write that is done all the same."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        group.waiters.append(waiter)
        return waiter

    def _write_all(self) -> None:
        while True:
            found = [self._queue.get()]
            while len(found) < GROUPS and not self._queue.empty():
                found.append(self._queue.get())
            groups = [one for one in found if one is not None]
            if groups:
                self._commit(groups)
            if len(groups) < len(found):
                return

    def _commit(self, groups: Sequence[_Group]) -> None:
        events = [event for group in groups for event in group.events]
        fresh = [event for event in events if self._duplicates.add(event.attributes)]
        failure: Retry | None = None
        stored: list[Stored] = []
        try:
            stored = self._write(fresh, groups)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            for event in reversed(fresh):
                self._duplicates.take_back(event.attributes)
            log.error("%s cannot be written: %s", self.path, error)
            failure = Retry(f"the broker's disk: {error}")
        if any(group.compacts for group in groups):
            self._compact()
        if self._loop is not None:
            # A loop that is closed has nobody left who waits.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._tell, groups, len(events), stored, failure)

    def _write(self, fresh: Sequence[WireEvent], groups: Sequence[_Group]) -> list[Stored]:
        now, first = time.time(), self._written + 1
        rows: dict[str, list[Row]] = {}
        if fresh:
            rows[_APPEND] = [
                (first + place, now, orjson.dumps(event.attributes), event.data)
                for place, event in enumerate(fresh)
            ]
        # Statement by statement. Changes of one event are never in one turn: each is waited for.
        for group in groups:
            for statement, changed in group.changes.items():
                rows.setdefault(statement, []).extend(changed)
        several = len(rows) > 1 or any(len(many) > CHUNK for many in rows.values())
        if rows and (several or _APPEND not in rows):
            self._db.execute("BEGIN IMMEDIATE")
        for statement, many in rows.items():
            self._run(statement, many)
        if self._db.in_transaction:
            self._db.execute("COMMIT")
        self._written += len(fresh)
        return [(first + place, now, event, False) for place, event in enumerate(fresh)]

    def _compact(self) -> None:
        """What was written stays written, whatever becomes of this: the next time takes the pages too."""
        try:
            # Frees a page a step, and only a script is stepped to its end.
            self._db.executescript(_COMPACT)
        except sqlite3.Error as error:
            log.warning("%s: space is given back later: %s", self.path, error)

    def _run(self, statement: str, rows: Sequence[Row]) -> None:
        if "{}" not in statement:
            self._db.executemany(statement, rows)
            return
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            places = ",".join([f"({','.join('?' * len(chunk[0]))})"] * len(chunk))
            self._db.execute(statement.format(places), [value for row in chunk for value in row])

    def _tell(
        self, groups: Sequence[_Group], events: int, stored: Sequence[Stored], failure: Retry | None
    ) -> None:
        """On the loop, once per transaction: answer those who wait, and hand the new events on."""
        self._waiting -= events
        for group in groups:
            for waiter in group.waiters:
                if waiter.done():
                    continue
                if failure is None:
                    waiter.set_result(None)
                else:
                    waiter.set_exception(failure)
        if failure is None:
            self.accepted += len(stored)
            self.duplicates += events - len(stored)
        if stored:
            before, self.last = self.last, stored[-1][0]
            for listen in self.listeners:
                listen(before, stored)
