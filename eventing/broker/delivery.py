"""Delivery to one trigger: at least once, in order per subject, retried as Knative's data plane says.

The trigger has a cursor: everything up to it is done. Events beyond it may be done out of order; that is
remembered until the cursor passes them. What was done and is on disk is never delivered again; what was done
and is not yet on disk may be, after a crash.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from ..errors import Reject
from ..wire import WireEvent, decode
from .manifests import Delivery, Trigger
from .metrics import Metrics
from .senders import Answer, App, send
from .store import BrokerStore

log = logging.getLogger(__name__)

PAGE = 256
CONCURRENCY = 16
MAX_PENDING = 1024
"""So many events are held in memory per trigger; the rest of a backlog stays on disk."""
REASON_BYTES = 1024
RETRIED = frozenset({404, 408, 409, 429})

Accept = Callable[[Sequence[WireEvent]], Awaitable[None]]


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
        self._lines: dict[str, deque[tuple[int, float, WireEvent]]] = {}
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pump: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._pump = asyncio.create_task(self._read_all(), name=f"trigger {self.trigger.name}")

    def wake(self) -> None:
        """There may be new events."""
        self._wake.set()

    async def stop(self, drain_seconds: float) -> None:
        """Begin no more deliveries; give those on their way some time."""
        if self._pump:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        for line in self._lines.values():
            while len(line) > 1:
                line.pop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=drain_seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- from the log into lines, one per subject -----------------------------------------------------------
    async def _read_all(self) -> None:
        while True:
            self._wake.clear()
            page = []
            if len(self._open) < MAX_PENDING:
                page = await asyncio.to_thread(self._store.page, self._read, PAGE)
            for sequence, accepted, event in page:
                self._read = sequence
                if sequence not in self._done and self.trigger.filter(event.attributes):
                    self._queue(sequence, accepted, event)
            self._advance()
            if not page:
                await self._wake.wait()

    def _queue(self, sequence: int, accepted: float, event: WireEvent) -> None:
        self._open[sequence] = None
        # Events without a subject owe each other no order.
        subject = event.attributes.get("subject") or f"\0{sequence}"
        line = self._lines.get(subject)
        if line is not None:
            line.append((sequence, accepted, event))
            return
        self._lines[subject] = deque([(sequence, accepted, event)])
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
            while line:
                sequence, accepted, event = line[0]
                await self._deliver(sequence, accepted, event)
                line.popleft()
                del self._open[sequence]
                self._done.add(sequence)
                self._wake.set()
        finally:
            del self._lines[subject]

    # --- one event ------------------------------------------------------------------------------------------
    async def _deliver(self, sequence: int, accepted: float, event: WireEvent) -> None:
        count, due = self._tried.pop(sequence, (0, 0.0))
        while True:
            await asyncio.sleep(max(0.0, due - time.time()))
            async with self._slots:
                answer = await self._attempt(self._target, event)
            if _is_success(answer.code):
                await self._succeeded(sequence, accepted, event, answer)
                return
            count += 1
            if count > self.trigger.delivery.retry or not _is_retried(answer.code):
                await self._give_up(sequence, event, answer)
                return
            self._metrics.retried.labels(self.trigger.name).inc()
            due = time.time() + pause(self.trigger.delivery, count, answer)
            await self._store.failed(self.trigger.name, sequence, count, due)

    async def _attempt(self, target: str | App, event: WireEvent) -> Answer:
        within = self.trigger.delivery.timeout.total_seconds()
        try:
            async with asyncio.timeout(within):
                return await send(target, event, self._client)
        except TimeoutError:
            return Answer(None, [], f"no answer within {within:g} s".encode())

    async def _succeeded(self, sequence: int, accepted: float, event: WireEvent, answer: Answer) -> None:
        if answer.body and (answer.header("ce-id") or "cloudevents" in answer.header("content-type")):
            try:
                await self._accept([decode(answer.headers, answer.body)])
            except Reject as rejected:
                log.warning("%s replied with no CloudEvent: %s", self.trigger.name, rejected)
        await self._store.finished(self.trigger.name, sequence)
        self._metrics.delivered.labels(self.trigger.name).inc()
        self._metrics.latency.labels(self.trigger.name).observe(max(0.0, time.time() - accepted))

    async def _give_up(self, sequence: int, event: WireEvent, answer: Answer) -> None:
        reason = answer.body[:REASON_BYTES].decode(errors="replace")
        destination = str(self.trigger.subscriber)
        if self._dead_letter_target is not None:
            extensions = {"knativeerrordest": destination, "knativeerrordata": " ".join(reason.split())}
            extensions |= {"knativeerrorcode": str(answer.code)} if answer.code else {}
            letter = WireEvent({**event.attributes, **extensions}, event.data)
            answered = await self._attempt(self._dead_letter_target, letter)
            if not _is_success(answered.code):
                log.warning("%s: the dead letter sink answered %s", self.trigger.name, answered.code)
        await self._store.bury(self.trigger.name, sequence, destination, answer.code, reason)
        self._metrics.dead.labels(self.trigger.name).inc()
        log.warning("%s: %s is a dead letter: %s", self.trigger.name, event.attributes["id"], reason)


def _is_success(code: int | None) -> bool:
    return code is not None and 200 <= code < 300


def _is_retried(code: int | None) -> bool:
    """Knative's retry table: no answer, 404, 408, 409, 429 and 5xx are tried again, other answers are not."""
    return code is None or code in RETRIED or code >= 500


def pause(delivery: Delivery, count: int, answer: Answer) -> float:
    """Seconds before attempt `count` + 1, jittered by a tenth. A Retry-After may prolong it to its limit."""
    delay = delivery.delay.total_seconds()
    backoff = delay * (count if delivery.policy == "linear" else 2 ** (count - 1))
    asked = min(_retry_after(answer), delivery.retry_after_max.total_seconds())
    return max(backoff, asked) * (1 + 0.1 * random.random())  # noqa: S311 - jitter, no secret


def _retry_after(answer: Answer) -> float:
    """RFC 9110 §10.2.3: seconds, or a date. 0 for anything else."""
    text = answer.header("retry-after")
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0
