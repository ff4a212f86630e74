"""Delivery to one trigger: at least once, in order per subject, retried as Knative's data plane says.

The trigger has a cursor: everything up to it is done. Events beyond it may be done out of order; that is
remembered until the cursor passes them. What was done and is on disk is never delivered again; what was done
and is not yet on disk may be, after a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections import deque
from collections.abc import Iterable, Sequence

from ..wire import WireEvent
from .courier import CONCURRENCY, Courier, Stopping
from .log import SMALL_BYTES, Stored
from .store import BrokerStore

log = logging.getLogger(__name__)

PAGE = 256
MAX_HELD = 1024
"""So many small events are held in memory per trigger; of the others only the sequence is kept."""
MAX_PENDING = 20_000
"""So many events may wait behind others of their subject before reading stops for all."""
BUSY_LINES = 2 * CONCURRENCY
"""While fewer subjects than that can go on, because others wait to be tried again, more is read."""
LOOK_SECONDS = 0.1
SAVE_SECONDS = 0.05
"""So long the cursor's place may wait to be written, for company."""
MAX_LINES = 1024
"""So many subjects have a line of their own at a time; an event without a subject is a line of one."""

Waiting = tuple[int, float, WireEvent | None]
"""Sequence, time of acceptance, and the event, or None: it is read again when its turn has come."""


class Deliverer:
    """Runs one trigger. All methods belong to one event loop."""

    def __init__(self, courier: Courier, store: BrokerStore) -> None:
        self.trigger = courier.trigger
        self._courier, self._store = courier, store
        position = store.log.position(self.trigger.name)
        self.cursor = position.cursor
        """Everything up to it is done."""
        self._done, self._tried = position.done, position.tried
        self._read = self.cursor
        self._saved = self.cursor
        # Sequences in hand, ascending because that is the order in which they are read.
        self._open: dict[int, None] = {}
        self._again: set[int] = set()
        self._wanted = position.again
        self._lines: dict[str, deque[Waiting]] = {}
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pump: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.pause(position.paused)

    def start(self) -> None:
        self._store.listeners.append(self._hear)
        self._pump = asyncio.create_task(self._read_all(), name=f"trigger {self.trigger.name}")

    async def stop(self, drain_seconds: float) -> None:
        """Begin no more deliveries; give those on their way some time."""
        self._courier.stop.set()
        if self._pump:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=drain_seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._save()

    # --- by hand --------------------------------------------------------------------------------------------
    def pause(self, rests: bool) -> None:
        """While it rests nothing new is attempted; events wait, nothing is lost."""
        if rests:
            self._courier.running.clear()
        else:
            self._courier.running.set()

    def again(self, sequences: Iterable[int]) -> None:
        """Deliver these once more, though the cursor has passed them: behind what waits of their subject."""
        self._wanted = [one for one in sequences if one not in self._again]
        if self._wanted:
            self._wake.set()

    # --- from the log into lines, one per subject -----------------------------------------------------------
    def _hear(self, before: int, stored: Sequence[Stored]) -> None:
        """New events. Who has read all earlier ones takes them as they are; others find them on disk."""
        if self._courier.stop.is_set():
            return
        if self._read == before and self._has_room():
            self._take(stored)
        else:
            self._wake.set()

    def _has_room(self) -> bool:
        busy = len(self._lines) - self._courier.resting
        enough = len(self._open) > MAX_HELD - PAGE and busy >= BUSY_LINES
        return not enough and len(self._open) < MAX_PENDING and len(self._lines) < MAX_LINES

    async def _read_all(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._read_again()
                while self._read < self._store.last and self._has_room():
                    last = self._store.last
                    page = await asyncio.to_thread(self._store.log.page, self._read, PAGE)
                    self._take(page)
                    if not page:
                        self._read = max(self._read, last)
                        self._advance()
            except sqlite3.Error as error:
                log.warning("%s: the log cannot be read, trying again: %s", self.trigger.name, error)
                await asyncio.sleep(1)
                continue
            with contextlib.suppress(TimeoutError):
                # Behind, lines that come to rest make room, and nobody says so.
                behind = self._read < self._store.last
                await asyncio.wait_for(self._wake.wait(), LOOK_SECONDS if behind else None)

    async def _read_again(self) -> None:
        while self._wanted and self._has_room():
            sequence = self._wanted.pop(0)
            # In hand from now on: while it is read, the order may come once more.
            self._again.add(sequence)
            try:
                found = await asyncio.to_thread(self._store.log.event, sequence)
            except sqlite3.Error:
                self._again.discard(sequence)
                raise
            event = found.event if found else WireEvent({})
            self._queue(sequence, found.accepted if found else 0.0, event, large=True)

    def _take(self, page: Sequence[Stored]) -> None:
        for sequence, accepted, event, large in page:
            # A page that was on its way from disk may have been overtaken by what was heard.
            if sequence <= self._read:
                continue
            self._read = sequence
            if sequence not in self._done and self.trigger.filter(event.attributes):
                self._open[sequence] = None
                self._queue(sequence, accepted, event, large)
        self._advance()

    def _queue(self, sequence: int, accepted: float, event: WireEvent, large: bool) -> None:
        kept = not large and len(event.data or b"") <= SMALL_BYTES and len(self._open) <= MAX_HELD
        waiting = (sequence, accepted, event if kept else None)
        # Events without a subject owe each other no order.
        subject = event.attributes.get("subject") or f"\0{sequence}"
        line = self._lines.get(subject)
        if line is not None:
            line.append(waiting)
            return
        self._lines[subject] = deque([waiting])
        task = asyncio.create_task(self._work_off(subject))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _advance(self) -> None:
        """Move the cursor up to before the first event that is not done."""
        self.cursor = next(iter(self._open)) - 1 if self._open else self._read
        # What is done beyond the saved cursor is on disk too, so saving it can wait for company.
        if self.cursor - self._saved >= PAGE:
            self._save()
        elif self.cursor > self._saved and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SAVE_SECONDS, self._save)

    def _save(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.cursor > self._saved:
            self._saved = self.cursor
            self._done = {sequence for sequence in self._done if sequence > self._saved}
            self._store.advanced(self.trigger.name, self._saved)

    async def _work_off(self, subject: str) -> None:
        line = self._lines[subject]
        try:
            while line and not self._courier.stop.is_set():
                sequence, accepted, event = line[0]
                again = sequence in self._again
                tried = self._tried.pop(sequence, (0, 0.0))
                await self._courier.deliver(sequence, accepted, event, tried, again=again)
                line.popleft()
                self._finished(sequence, again)
        except Stopping:
            return
        finally:
            del self._lines[subject]
            if self._read < self._store.last or self._wanted:
                self._wake.set()

    def _finished(self, sequence: int, again: bool) -> None:
        if again:
            self._again.discard(sequence)
            return
        del self._open[sequence]
        self._done.add(sequence)
        self._advance()
        if self._read < self._store.last and self._has_room():
            self._wake.set()
