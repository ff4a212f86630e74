"""KafkaSource on one machine: a consumer group's members feed the broker, as Knative's feed a sink.

At least once: an offset is committed only after the broker has its event on disk, so that what was read and
not accepted is read again. A repeated record makes an event with the same source, id and type, which the
broker takes once. The order within a partition is kept, and no record holds up the ones behind it for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter

from ..errors import Reject, Retry
from ..wire import WireEvent
from . import kafka_client
from .kafka_reader import Reader
from .kafka_records import Record, event_of
from .sources import KafkaFeed

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0

Accept = Callable[[Sequence[WireEvent]], Awaitable[None]]
_Answer = TypeVar("_Answer")


class SourceMetrics:
    """What KafkaSources count; one for all of a broker's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = Counter(
            "homeostat_kafka_source_records",
            "Records that were accepted, by how they became events, and those that were refused",
            ["source", "outcome"],
            registry=registry,
        )
        self.held = Counter(
            "homeostat_kafka_source_held",
            "Batches that the broker could not take at once",
            ["source"],
            registry=registry,
        )


class KafkaSource:
    """`accept` raises Retry to be asked again later; reading pauses until then. `extra` are librdkafka's
    settings for the consumers, such as `session.timeout.ms`.

    Raises Reject where confluent-kafka is not installed or a Secret is missing.
    """

    def __init__(
        self,
        feed: KafkaFeed,
        accept: Accept,
        *,
        secret: kafka_client.ReadSecret = kafka_client.no_secrets,
        metrics: SourceMetrics | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        where = f"KafkaSource {feed.name}"
        kafka = kafka_client.confluent(where)
        self.feed = feed
        settings = {**kafka_client.settings(feed.kafka, where, secret), **(extra or {})}
        self._open = partial(Reader, kafka, feed, settings)
        self._accept = accept
        self._metrics = metrics or SourceMetrics(CollectorRegistry())
        self._stop = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()

    async def run(self) -> None:
        """Feed until `stop`, through whatever happens to Kafka."""
        self._ended.clear()
        try:
            await asyncio.gather(*(self._keep_feeding() for _ in range(self.feed.consumers)))
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Finish the batch in hand, leave the group."""
        self._stop.set()
        await self._ended.wait()

    async def _keep_feeding(self) -> None:
        pause, now = FIRST_PAUSE, asyncio.get_running_loop().time
        while not self._stop.is_set():
            began = now()
            try:
                await self._feed()
            except Exception as error:  # noqa: BLE001 - Kafka's troubles pass; what was not accepted is read again
                pause = FIRST_PAUSE if now() - began > LONGEST_PAUSE else pause
                log.warning("KafkaSource %s starts anew in %g s: %s", self.feed.name, pause, error)
                await self._rest(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _feed(self) -> None:
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, thread_name_prefix=f"kafka {self.feed.name}")

        async def call(work: Callable[[], _Answer]) -> _Answer:
            return await loop.run_in_executor(thread, work)

        try:
            reader = await call(self._open)
            try:
                await self._hand_over(reader, call)
            finally:
                # Behind whatever the thread still does, also for a task that is cancelled.
                closing = thread.submit(reader.close)
                await asyncio.shield(asyncio.wrap_future(closing))
        finally:
            thread.shutdown(wait=False)

    async def _hand_over(
        self, reader: Reader, call: Callable[[Callable[[], object]], Awaitable[object]]
    ) -> None:
        held: list[Record] = []
        due, now = 0.0, asyncio.get_running_loop().time
        while not self._stop.is_set():
            wait = min(POLL_SECONDS, max(0.0, due - now())) if held else POLL_SECONDS
            read: list[Record] = []
            await call(lambda: read.extend(reader.read(wait)))  # noqa: B023 - done before the next round
            held = [*reader.kept(held), *read]
            if not held or now() < due:
                continue
            try:
                await self._take(held)
            except Retry as retry:
                self._metrics.held.labels(self.feed.name).inc()
                log.info("KafkaSource %s pauses %g s: %s", self.feed.name, retry.after, retry)
                due = now() + max(0.05, retry.after)
                await call(reader.pause)
                continue
            await call(partial(reader.done, held))
            held, due = [], 0.0

    async def _take(self, records: Sequence[Record]) -> None:
        """Raises Retry when the broker cannot take them now."""
        made = [event_of(record, self.feed) for record in records]
        try:
            await self._accept([event for event, _ in made])
        except Retry:
            raise
        except Reject:
            await self._take_each(made)
            return
        except Exception as defect:
            log.exception("KafkaSource %s: the broker failed", self.feed.name)
            raise Retry(f"{type(defect).__name__}: {defect}") from defect
        for _, outcome in made:
            self._count(outcome)

    async def _take_each(self, made: Sequence[tuple[WireEvent, str]]) -> None:
        """One event that is refused holds up no other."""
        for event, outcome in made:
            try:
                await self._accept([event])
            except Reject as rejected:
                # The record stays in Kafka, at the place that this line names.
                log.error("KafkaSource %s: %s is refused: %s", self.feed.name, event.attributes, rejected)
                self._count("refused")
            else:
                self._count(outcome)

    def _count(self, outcome: str) -> None:
        self._metrics.records.labels(self.feed.name, outcome).inc()

    async def _rest(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
