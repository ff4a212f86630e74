"""A KafkaSource as its manifest says it, running on a mock cluster, and a sink that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from prometheus_client import CollectorRegistry

from homeostat.eventing.broker.kafka_source import KafkaSource, SourceMetrics
from homeostat.eventing.broker.sources import Kafka, KafkaFeed
from homeostat.eventing.wire import WireEvent
from tests.eventing.kafka_cluster import Cluster

FEED = KafkaFeed(
    name="samples",
    namespace="homeostat",
    kafka=Kafka(("127.0.0.1:1",)),
    topics=("samples",),
    group="homeostat-samples",
    initial_offset="earliest",
    consumers=1,
    key_type="string",
    broker=("homeostat", "default"),
    extensions={"detector": "pump"},
)
EVENT = [("ce_specversion", b"1.0"), ("ce_id", b"7"), ("ce_source", b"/plant"), ("ce_type", b"plant.sample")]
# The mock coordinator waits nearly this long for members that may come back.
QUICK = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 200}


class Sink:
    """Accepts events, or says once per call in `answers` what it raises instead."""

    def __init__(self, *answers: Exception | None) -> None:
        self.got: list[WireEvent] = []
        self.asked = 0
        self._answers = list(answers)

    async def accept(self, events: Sequence[WireEvent]) -> None:
        self.asked += 1
        if self._answers and (answer := self._answers.pop(0)):
            raise answer
        self.got += events

    @property
    def data(self) -> list[int]:
        return [int(event.data or b"") for event in self.got]


@asynccontextmanager
async def feeding(kafka: Cluster, sink: Any, **changes: Any) -> AsyncIterator[KafkaSource]:
    metrics = SourceMetrics(CollectorRegistry())
    feed = replace(FEED, kafka=Kafka(tuple(kafka.servers.split(","))), **changes)
    source = KafkaSource(feed, sink.accept, metrics=metrics, extra=QUICK)
    running = asyncio.create_task(source.run())
    try:
        yield source
    finally:
        await asyncio.wait_for(source.stop(), 15)
        await running


def write(kafka: Cluster, first: int, last: int, partition: int = 0, **more: Any) -> None:
    for number in range(first, last):
        kafka.write("samples", b"%d" % number, partition=partition, **more)
