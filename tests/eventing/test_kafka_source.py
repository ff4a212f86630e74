"""KafkaSource on librdkafka's mock cluster: events as Knative makes them, offsets after acceptance."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from prometheus_client import CollectorRegistry

from homeostat.eventing.broker import Broker, kafka_source
from homeostat.eventing.broker.kafka_reader import Reader
from homeostat.eventing.broker.kafka_records import Record
from homeostat.eventing.broker.kafka_source import KafkaSource, SourceMetrics
from homeostat.eventing.broker.sources import Kafka
from homeostat.eventing.errors import Fault, Reject, Retry
from homeostat.eventing.wire import WireEvent
from tests.eventing.brokers import manifests, until
from tests.eventing.kafka_cluster import OFFSET_COMMIT, Cluster, asynchronous, cluster
from tests.eventing.kafka_feed import EVENT, FEED, Sink, feeding, write


@pytest.fixture
def kafka() -> Iterator[Cluster]:
    with cluster() as running:
        running.topic("samples", 2)
        yield running


@asynchronous
async def test_records_arrive_in_the_order_of_their_partition_and_are_committed(kafka: Cluster) -> None:
    write(kafka, 0, 30)
    write(kafka, 100, 130, partition=1)
    sink = Sink()
    async with feeding(kafka, sink):
        await until(lambda: len(sink.got) == 60)
    assert [number for number in sink.data if number < 100] == list(range(30))
    assert [number for number in sink.data if number >= 100] == list(range(100, 130))
    assert kafka.committed(FEED.group, "samples", 0) == kafka.committed(FEED.group, "samples", 1) == 30


@asynchronous
async def test_nothing_is_committed_before_it_is_accepted_and_a_restart_reads_it_again(
    kafka: Cluster,
) -> None:
    write(kafka, 0, 5)
    refusing = Sink(*[Retry("the disk is full", after=60)])
    async with feeding(kafka, refusing):
        await until(lambda: refusing.asked)
    assert kafka.committed(FEED.group, "samples") <= 0
    sink = Sink()
    async with feeding(kafka, sink):
        await until(lambda: len(sink.got) == 5)
    assert sink.data == list(range(5))
    assert kafka.committed(FEED.group, "samples") == 5


@asynchronous
async def test_a_broker_that_cannot_take_more_is_asked_again_later(kafka: Cluster) -> None:
    write(kafka, 0, 5)
    sink = Sink(Retry("full", after=0.1), RuntimeError("a defect"), Retry("full", after=0.1))
    async with feeding(kafka, sink):
        await until(lambda: sink.asked >= 2)
        write(kafka, 5, 10)
        await until(lambda: len(sink.got) == 10)
    assert sink.data == list(range(10))
    assert kafka.committed(FEED.group, "samples") == 10


@asynchronous
async def test_while_it_waits_it_reads_no_more_and_stays_in_the_group(
    kafka: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Record] = []

    class Watched(Reader):
        def read(self, seconds: float) -> list[Record]:
            found = super().read(seconds)
            read.extend(found)
            return found

    monkeypatch.setattr(kafka_source, "Reader", Watched)
    # Longer than the group would wait for a member that does not show itself.
    sink = Sink(None, Retry("full", after=2.5))
    async with feeding(kafka, sink):
        write(kafka, 0, 1)
        await until(lambda: len(sink.got) == 1)
        write(kafka, 1, 2)
        await until(lambda: sink.asked == 2)
        await asyncio.sleep(0.3)
        write(kafka, 2, 200)
        await asyncio.sleep(1)
        assert (sink.asked, len(read)) == (2, 2)
        await until(lambda: len(sink.got) == 200)
    assert sink.data == list(range(200))
    assert len(read) == 200


@asynchronous
async def test_what_was_accepted_and_not_committed_comes_again_with_the_same_key(
    kafka: Cluster, tmp_path: Path
) -> None:
    """A crash between acceptance and commit: here the commits fail. The broker takes each event once."""
    broker = Broker(tmp_path / "broker.db", manifests(tmp_path, {}), lambda _: "http://127.0.0.1:9/")
    write(kafka, 0, 5)
    keys: list[tuple[str, str, str]] = []

    class Both:
        async def accept(self, events: Sequence[WireEvent]) -> None:
            await broker.accept(events)
            keys.extend(event.key for event in events)

    try:
        for _ in range(2):
            # The group's coordinator never takes an offset, the first of which says where reading begins.
            kafka.fail(OFFSET_COMMIT, [KafkaError.GROUP_AUTHORIZATION_FAILED] * 50)
            seen = len(keys)
            async with feeding(kafka, Both()):
                await until(lambda: len(keys) >= seen + 5)  # noqa: B023 - awaited here
        assert keys == keys[:5] * 2
        assert broker.registry.get_sample_value("homeostat_broker_duplicates_total") == 5
    finally:
        await broker.stop()


@asynchronous
async def test_an_event_that_is_refused_holds_up_no_other(
    kafka: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    class Choosy(Sink):
        async def accept(self, events: Sequence[WireEvent]) -> None:
            if any(event.data == b"2" for event in events):
                raise Reject(Fault("data", "2", "no twos"))
            await super().accept(events)

    write(kafka, 0, 5)
    sink = Choosy()
    async with feeding(kafka, sink):
        await until(lambda: len(sink.got) == 4)
    assert sink.data == [0, 1, 3, 4]
    assert kafka.committed(FEED.group, "samples") == 5
    assert "partition:0/offset:2" in caplog.text


@asynchronous
async def test_latest_begins_at_the_end_and_forgets_nothing_after_a_restart(kafka: Cluster) -> None:
    write(kafka, 0, 3)
    sink = Sink()
    async with feeding(kafka, sink, initial_offset="latest"):
        await until(lambda: kafka.committed(FEED.group, "samples") == 3)
    write(kafka, 3, 6)  # while nobody reads
    async with feeding(kafka, sink, initial_offset="latest"):
        await until(lambda: len(sink.got) == 3)
    assert sink.data == [3, 4, 5]


@asynchronous
async def test_a_rebalance_loses_nothing(kafka: Cluster) -> None:
    first, second = Sink(), Sink()
    async with feeding(kafka, first):
        write(kafka, 0, 10)
        write(kafka, 100, 110, partition=1)
        await until(lambda: len(first.got) == 20)
        async with feeding(kafka, second):
            number = 200
            while not second.got:  # both partitions get records until the second member reads one of them
                write(kafka, number, number + 1)
                write(kafka, number + 1, number + 2, partition=1)
                number += 2
                await asyncio.sleep(0.1)
            await until(lambda: set(first.data + second.data) >= set(range(200, number)))
        write(kafka, number, number + 1)
        write(kafka, number + 1, number + 2, partition=1)
        await until(lambda: set(first.data) >= {number, number + 1})
    assert len(second.got) < number - 200, "the first member read nothing any more"


@asynchronous
async def test_brokers_that_go_away_and_come_back_are_survived() -> None:
    with cluster(brokers=2) as kafka:
        kafka.topic("samples", 2)
        write(kafka, 0, 5)
        sink = Sink()
        async with feeding(kafka, sink):
            await until(lambda: len(sink.got) == 5)
            for broker in (1, 2):
                kafka.down(broker)
            await asyncio.sleep(0.5)
            for broker in (1, 2):
                kafka.up(broker)
            write(kafka, 5, 10)
            await until(lambda: len(sink.got) >= 10, 30)
        assert sorted(set(sink.data)) == list(range(10))
        assert kafka.committed(FEED.group, "samples") == 10


@asynchronous
async def test_several_consumers_share_a_topic(kafka: Cluster) -> None:
    sink = Sink()
    async with feeding(kafka, sink, consumers=2):
        write(kafka, 0, 20)
        write(kafka, 100, 120, partition=1)
        await until(lambda: len(set(sink.data)) == 40)


@asynchronous
async def test_outcomes_are_counted(kafka: Cluster) -> None:
    write(kafka, 0, 2)
    kafka.write("samples", b"3", headers=EVENT)
    kafka.write("samples", b"4", headers=[("content-type", b"application/cloudevents+json")])
    registry, sink = CollectorRegistry(), Sink()
    feed = replace(FEED, kafka=Kafka((kafka.servers,)))
    source = KafkaSource(feed, sink.accept, metrics=SourceMetrics(registry))
    running = asyncio.create_task(source.run())
    await until(lambda: len(sink.got) == 4)
    await source.stop()
    await running
    for outcome, count in (("wrapped", 2), ("event", 1), ("malformed", 1)):
        labels = {"source": "samples", "outcome": outcome}
        assert registry.get_sample_value("homeostat_kafka_source_records_total", labels) == count


@asynchronous
async def test_a_cancelled_source_leaves_no_thread_behind(kafka: Cluster) -> None:
    sink = Sink()
    source = KafkaSource(replace(FEED, kafka=Kafka((kafka.servers,))), sink.accept)
    running = asyncio.create_task(source.run())
    write(kafka, 0, 1)
    await until(lambda: sink.got)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await until(lambda: not [one for one in threading.enumerate() if one.name.startswith("kafka samples")])


@asynchronous
async def test_stopping_before_kafka_was_ever_there_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_source, "FIRST_PAUSE", 60.0)
    source = KafkaSource(FEED, Sink().accept)
    running = asyncio.create_task(source.run())
    await asyncio.sleep(0.3)
    await asyncio.wait_for(source.stop(), 5)
    await running
