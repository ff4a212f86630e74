"""Delivery to one trigger: at least once, in order per subject, retried as Knative's data plane says.

The trigger has a cursor: everything up to it is done. Events beyond it may be done out of order; that is
remembered until the cursor passes them. What was done and is on disk is never delivered again; what was done
and is not yet on disk may be, after a crash.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import httpx

from ..errors import Reject, Retry
from ..wire import WireEvent, decode
from .manifests import Trigger
from .metrics import Metrics
from .retries import is_retried, is_success, pause
from .senders import Answer, App, send
from .store import SMALL_BYTES, BrokerStore, Stored

log = logging.getLogger(__name__)

PAGE = 256
CONCURRENCY = 16
MAX_HELD = 1024
"""So many small events are held in memory per trigger; of the others only the sequence is kept."""
MAX_PENDING = 20_000
"""So many events may wait behind others of their subject before reading stops for all."""
REASON_BYTES = 1024

Accept = Callable[[Sequence[WireEvent]], Awaitable[None]]
Waiting = tuple[int, float, WireEvent | None]
"""Sequence, time of acceptance, and the event, or None: it is read again when its turn has come."""


class _Stopping(Exception):
    """The broker stops; what is not on its way stays for the next start."""


class Deliverer:
    """Runs one trigger. All methods belong to one event loop."""

    def __init__(
        self,
        trigger: Trigger,
        target: str | App,
        dead_letter_target: str | App | None,
        store: BrokerStore,
        accept: Accept,
        client: httpx.AsyncClient,
        metrics: Metrics,
    ) -> None:
        self.trigger = trigger
        self._target, self._dead_letter_target = target, dead_letter_target
        self._store, self._accept, self._client, self._metrics = store, accept, client, metrics
        self._cursor, self._done, self._tried = store.position(trigger.name)
        self._read = self._cursor
        self._saved = self._cursor
        # Sequences in hand, ascending because that is the order in which they are read.
        self._open: dict[int, None] = {}
        self._lines: dict[str, deque[Waiting]] = {}
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pump: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._store.listeners.append(self._hear)
        self._pump = asyncio.create_task(self._read_all(), name=f"trigger {self.trigger.name}")

    async def stop(self, drain_seconds: float) -> None:
        """Begin no more deliveries; give those on their way some time."""
        self._stop.set()
        if self._pump:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=drain_seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- from the log into lines, one per subject -----------------------------------------------------------
    def _hear(self, before: int, stored: Sequence[Stored]) -> None:
        """New events. Who has read all earlier ones takes them as they are; others find them on disk."""
        if self._stop.is_set():
            return
        if self._read == before and len(self._open) < MAX_HELD:
            self._take(stored)
        else:
            self._wake.set()

    async def _read_all(self) -> None:
        while True:
            self._wake.clear()
            try:
                while self._read < self._store.last and len(self._open) < MAX_PENDING:
                    last = self._store.last
                    page = await asyncio.to_thread(self._store.page, self._read, PAGE)
                    self._take(page)
                    if not page:
                        self._read = max(self._read, last)
            except sqlite3.Error as error:
                log.warning("%s: the log cannot be read, trying again: %s", self.trigger.name, error)
                await asyncio.sleep(1)
                continue
            await self._wake.wait()

    def _take(self, page: Sequence[Stored]) -> None:
        for sequence, accepted, event, large in page:
            # A page that was on its way from disk may have been overtaken by what was heard.
            if sequence <= self._read:
                continue
            self._read = sequence
            if sequence not in self._done and self.trigger.filter(event.attributes):
                self._queue(sequence, accepted, event, large)
        self._advance()

    def _queue(self, sequence: int, accepted: float, event: WireEvent, large: bool) -> None:
        self._open[sequence] = None
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
        self._cursor = next(iter(self._open)) - 1 if self._open else self._read
        # What is done beyond the saved cursor is on disk too, so saving it can wait for company.
        if self._cursor - self._saved >= PAGE or (not self._open and self._cursor > self._saved):
            self._saved = self._cursor
            self._done = {sequence for sequence in self._done if sequence > self._saved}
            self._store.advanced(self.trigger.name, self._saved)

    async def _work_off(self, subject: str) -> None:
        line = self._lines[subject]
        try:
            while line and not self._stop.is_set():
                sequence, accepted, event = line[0]
                await self._deliver(sequence, accepted, event)
                line.popleft()
                del self._open[sequence]
                self._done.add(sequence)
                self._advance()
                if self._read < self._store.last:
                    self._wake.set()
        except _Stopping:
            return
        finally:
            del self._lines[subject]

    # --- one event ------------------------------------------------------------------------------------------
    async def _deliver(self, sequence: int, accepted: float, event: WireEvent | None) -> None:
        name, delivery = self.trigger.name, self.trigger.delivery
        count, due = self._tried.pop(sequence, (0, 0.0))
        while True:
            await self._rest(due - time.time())
            async with self._slots:
                if self._stop.is_set():
                    raise _Stopping
                whole = event or await self._load(sequence)
                answer = await self._attempt(self._target, whole)
            if is_success(answer.code):
                await self._succeeded(sequence, accepted, answer, tried=count > 0)
                return
            count += 1
            if count > delivery.retry or not is_retried(answer.code):
                await self._give_up(sequence, whole, answer)
                return
            self._metrics.retried.labels(name).inc()
            due = time.time() + pause(delivery, count, answer)
            await self._persist(lambda: self._store.failed(name, sequence, count, due))  # noqa: B023

    async def _rest(self, seconds: float) -> None:
        if seconds <= 0:
            return
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
        raise _Stopping

    async def _load(self, sequence: int) -> WireEvent:
        while True:
            try:
                return await asyncio.to_thread(self._store.event, sequence)
            except sqlite3.Error as error:
                log.warning("%s: event %d cannot be read: %s", self.trigger.name, sequence, error)
                await self._rest(1)

    async def _persist(self, write: Callable[[], Awaitable[None]]) -> None:
        """Until the disk takes it: a full disk must not make what was delivered be delivered again."""
        while True:
            try:
                return await write()
            except Retry as retry:
                log.warning("%s: %s; trying again", self.trigger.name, retry)
                await self._rest(retry.after)

    async def _attempt(self, target: str | App, event: WireEvent) -> Answer:
        within = self.trigger.delivery.timeout.total_seconds()
        try:
            async with asyncio.timeout(within):
                return await send(target, event, self._client)
        except TimeoutError:
            return Answer(None, [], f"no answer within {within:g} s".encode())

    async def _succeeded(self, sequence: int, accepted: float, answer: Answer, *, tried: bool) -> None:
        name = self.trigger.name
        if answer.body and (answer.header("ce-id") or "cloudevents" in answer.header("content-type")):
            try:
                reply = decode(answer.headers, answer.body)
                await self._persist(lambda: self._accept([reply]))
            except Reject as rejected:
                log.warning("%s replied with no CloudEvent: %s", name, rejected)
        await self._persist(lambda: self._store.finished(name, sequence, tried=tried))
        self._metrics.delivered.labels(name).inc()
        self._metrics.latency.labels(name).observe(max(0.0, time.time() - accepted))

    async def _give_up(self, sequence: int, event: WireEvent, answer: Answer) -> None:
        name, destination = self.trigger.name, str(self.trigger.subscriber)
        reason = answer.body[:REASON_BYTES].decode(errors="replace")
        if self._dead_letter_target is not None:
            # Attributes take no control characters.
            printable = "".join(char if char.isprintable() else " " for char in reason)
            extensions = {"knativeerrordest": destination, "knativeerrordata": " ".join(printable.split())}
            extensions |= {"knativeerrorcode": str(answer.code)} if answer.code else {}
            letter = WireEvent({**event.attributes, **extensions}, event.data)
            answered = await self._attempt(self._dead_letter_target, letter)
            if not is_success(answered.code):
                log.warning("%s: the dead letter sink answered %s", name, answered.code)
        await self._persist(lambda: self._store.bury(name, sequence, destination, answer.code, reason))
        self._metrics.dead.labels(name).inc()
        log.warning("%s: %s is a dead letter: %s", name, event.attributes["id"], reason)
