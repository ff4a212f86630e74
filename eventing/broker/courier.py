"""One event to one subscriber: attempt after attempt, until it is taken or becomes a dead letter."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence

import httpx

from ..errors import Reject, Retry
from ..wire import WireEvent, decode
from .manifests import Trigger
from .metrics import TriggerMetrics
from .retries import is_retried, is_success, pause
from .senders import Answer, Target, send
from .store import BrokerStore

log = logging.getLogger(__name__)

CONCURRENCY = 16
REASON_BYTES = 1024

Accept = Callable[[Sequence[WireEvent]], Awaitable[None]]


class Stopping(Exception):
    """The broker stops; what is not on its way stays for the next start."""


class Courier:
    """Delivers for one trigger. `running` is cleared while the trigger rests, `stop` is set for good."""

    def __init__(
        self,
        trigger: Trigger,
        target: Target,
        dead_letter_target: Target | None,
        store: BrokerStore,
        accept: Accept,
        client: httpx.AsyncClient,
        metrics: TriggerMetrics,
    ) -> None:
        self.trigger, self.metrics = trigger, metrics
        self._target, self._dead_letter_target = target, dead_letter_target
        self._store, self._accept, self._client = store, accept, client
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self.running, self.stop = asyncio.Event(), asyncio.Event()
        self.running.set()
        self.resting = 0
        """How many events wait to be tried again."""

    async def deliver(
        self,
        sequence: int,
        accepted: float,
        event: WireEvent | None,
        tried: tuple[int, float],
        *,
        again: bool = False,
    ) -> None:
        """To the end; then everything about it is on disk. `event` None: it is read when its turn has come.
        `tried` is how often it failed before, and when it is due. Raises Stopping."""
        delivery = self.trigger.delivery
        count, due = tried
        while True:
            if count:
                self.resting += 1
                try:
                    await self._rest(due - time.time())
                finally:
                    self.resting -= 1
            async with self._slots:
                await self._may_go()
                whole = event or await self._load(sequence)
                if whole is None:  # dropped by hand meanwhile
                    await self._finish(sequence, count, again)
                    return
                answer = await self._attempt(self._target, whole, reply=True)
            if is_success(answer.code):
                await self._succeeded(answer)
                await self._finish(sequence, count, again)
                self.metrics.delivered.inc()
                self.metrics.latency.observe(max(0.0, time.time() - accepted))
                return
            count += 1
            if count > delivery.retry or not is_retried(answer.code):
                await self._give_up(sequence, whole, answer, again)
                return
            self.metrics.retried.inc()
            due = time.time() + pause(delivery, count, answer)
            await self._persist(self._store.failed, self.trigger.name, sequence, count, due)

    async def _may_go(self) -> None:
        if not self.running.is_set():
            waits = [asyncio.create_task(one.wait()) for one in (self.running, self.stop)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waits:
                    one.cancel()
        if self.stop.is_set():
            raise Stopping

    async def _rest(self, seconds: float) -> None:
        if seconds <= 0:
            return
        try:
            await asyncio.wait_for(self.stop.wait(), seconds)
        except TimeoutError:
            return
        raise Stopping

    async def _load(self, sequence: int) -> WireEvent | None:
        while True:
            try:
                found = await asyncio.to_thread(self._store.log.event, sequence)
            except sqlite3.Error as error:
                log.warning("%s: event %d cannot be read: %s", self.trigger.name, sequence, error)
                await self._rest(1)
            else:
                return found.event if found else None

    async def _persist(self, write: Callable[..., Awaitable[None]], *values: object) -> None:
        """Until the disk takes it: a full disk must not make what was delivered be delivered again."""
        while True:
            try:
                return await write(*values)
            except Retry as retry:
                log.warning("%s: %s; trying again", self.trigger.name, retry)
                await self._rest(retry.after)

    async def _attempt(self, target: Target, event: WireEvent, *, reply: bool) -> Answer:
        delivery = self.trigger.delivery
        within, structured = delivery.timeout.total_seconds(), delivery.format == "json"
        try:
            async with asyncio.timeout(within):
                return await send(target, event, self._client, structured=structured, reply=reply)
        except TimeoutError:
            return Answer(None, [], f"no answer within {within:g} s".encode())

    async def _finish(self, sequence: int, count: int, again: bool) -> None:
        await self._persist(self._store.finished, self.trigger.name, sequence, count > 0, again)

    async def _succeeded(self, answer: Answer) -> None:
        """A reply is a new event, with 200 alone (data plane, § Derived (Reply) Events)."""
        if answer.code != 200:
            return
        if answer.body and (answer.header("ce-id") or "cloudevents" in answer.header("content-type")):
            try:
                reply = decode(answer.headers, answer.body)
                await self._persist(self._accept, [reply])
            except Reject as rejected:
                log.warning("%s replied with no CloudEvent: %s", self.trigger.name, rejected)

    async def _give_up(self, sequence: int, event: WireEvent, answer: Answer, again: bool) -> None:
        name, destination = self.trigger.name, str(self.trigger.subscriber)
        reason = answer.body[:REASON_BYTES].decode(errors="replace")
        if self._dead_letter_target is not None:
            # Attributes take no control characters.
            printable = "".join(char if char.isprintable() else " " for char in reason)
            extensions = {"knativeerrordest": destination, "knativeerrordata": " ".join(printable.split())}
            extensions |= {"knativeerrorcode": str(answer.code)} if answer.code else {}
            letter = WireEvent({**event.attributes, **extensions}, event.data)
            answered = await self._attempt(self._dead_letter_target, letter, reply=False)
            if not is_success(answered.code):
                log.warning("%s: the dead letter sink answered %s", name, answered.code)
        await self._persist(self._store.bury, name, sequence, destination, answer.code, reason, again)
        self.metrics.dead.inc()
        log.warning("%s: %s is a dead letter: %s", name, event.attributes["id"], reason)
