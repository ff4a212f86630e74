"""KafkaSource on librdkafka's mock cluster: events as Knative makes them, offsets after acceptance."""

from __future__ import annotations

import asyncio
import struct
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from homeostat.eventing.broker import Broker, kafka_client, kafka_source
from homeostat.eventing.broker.kafka_reader import Reader
from homeostat.eventing.broker.kafka_records import Record, event_of
from homeostat.eventing.broker.kafka_source import KafkaSource, SourceMetrics
from homeostat.eventing.broker.sources import Kafka, KafkaFeed
from homeostat.eventing.errors import Fault, Reject, Retry
from homeostat.eventing.wire import MAX_ATTRIBUTES, WireEvent, check
from tests.eventing.brokers import manifests, until
from tests.eventing.kafka_cluster import OFFSET_COMMIT, Cluster, asynchronous, cluster

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
# The mock coordinator waits nearly this long for members that may come back.
QUICK = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 200}
EVENT = [("ce_specversion", b"1.0"), ("ce_id", b"7"), ("ce_source", b"/plant"), ("ce_type", b"plant.sample")]


# --- what a record becomes ---


def test_a_record_becomes_the_event_that_knative_makes() -> None:
    headers = [("Trace-Id", b"abc"), ("Content-Type", b"Text/CSV"), ("line", b"L\xc3\xa4nge")]
    record = Record("samples", 3, 42, 1_700_000_000_123, b"pump-1", b"1,2,3", headers)
    event, outcome = event_of(record, FEED)
    assert outcome == "wrapped"
    assert event.data == b"1,2,3"
    assert event.attributes == {
        "specversion": "1.0",
        "id": "partition:3/offset:42",
        "source": "/apis/v1/namespaces/homeostat/kafkasources/samples#samples",
        "type": "dev.knative.kafka.event",
        "subject": "partition:3#42",
        "time": "2023-11-14T22:13:20.123Z",
        "datacontenttype": "text/csv",
        "key": "pump-1",
        "partitionkey": "pump-1",
        "kafkaheadertraceid": "abc",
        "kafkaheaderline": "Länge",
        "knativekafkapartition": "3",
        "knativekafkaoffset": "42",
        "detector": "pump",
    }


def test_a_record_that_is_an_event_stays_it() -> None:
    event, outcome = event_of(Record("samples", 0, 5, 1, b"key", b"{}", EVENT), FEED)
    assert outcome == "event"
    assert event.key == ("/plant", "7", "plant.sample")
    added = {"knativekafkapartition": "0", "knativekafkaoffset": "5", "detector": "pump"}
    assert event.attributes == {
        "specversion": "1.0", "id": "7", "source": "/plant", "type": "plant.sample", **added
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "raw", "text"),
    [
        ("string", b"pump", "pump"),
        ("string", b"\xff\x00", "\ufffd\ufffd"),
        ("int", struct.pack(">i", -7), "-7"),
        ("int", b"longer", "longer"),
        ("float", struct.pack(">f", 0.1), "0.1"),
        ("float", struct.pack(">f", 3.4028234663852886e38), "3.4028235e+38"),
        ("float", struct.pack(">d", 0.1), "0.1"),
        ("float", b"odd", "odd"),
        ("byte-array", b"\xff\x00", "/wA="),
    ],
)
def test_keys_are_read_by_the_key_type_label(kind: str, raw: bytes, text: str) -> None:
    event, _ = event_of(Record("samples", 0, 0, key=raw), replace(FEED, key_type=kind))
    assert event.attributes["key"] == event.attributes["partitionkey"] == text


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'{"id": 1}', None])
def test_a_record_that_claims_to_be_an_event_and_is_none_is_wrapped(value: bytes | None) -> None:
    record = Record("samples", 0, 1, value=value, headers=[("content-type", b"application/cloudevents+json")])
    event, outcome = event_of(record, FEED)
    assert (outcome, event.data) == ("malformed", value)
    # Sent on over HTTP, its data must not pass for the event itself.
    assert event.attributes["datacontenttype"] == "application/octet-stream"


def test_attributes_too_large_for_an_event_are_cut_and_the_data_is_kept() -> None:
    record = Record("samples", 0, 1, key=b"k", value=b"data", headers=[("h", b"x" * MAX_ATTRIBUTES)])
    event, outcome = event_of(record, FEED)
    assert (outcome, event.data) == ("cut", b"data")
    assert "kafkaheaderh" not in event.attributes


@given(
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.binary(max_size=12),
    st.none() | st.binary(max_size=40),
    st.lists(
        st.tuples(
            st.sampled_from(["content-type", "ce_specversion", "ce_id", "ce_time"]) | st.text(max_size=9),
            st.none() | st.binary(max_size=12) | st.sampled_from([b"1.0", b"application/cloudevents"]),
        ),
        max_size=6,
    ),
    st.sampled_from(["string", "int", "float", "byte-array"]),
)
def test_every_record_becomes_an_event(
    timestamp: int | None, key: bytes | None, value: bytes | None, headers: Any, kind: str
) -> None:
    record = Record("samples", 0, 1, timestamp, key, value, headers)
    event, outcome = event_of(record, replace(FEED, key_type=kind))
    check(event)
    assert outcome == "event" or event.data == value


# --- the consumer ---


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


@pytest.fixture
def kafka() -> Iterator[Cluster]:
    with cluster() as running:
        running.topic("samples", 2)
        yield running


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


def test_without_confluent_kafka_the_mend_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(Reject, match=r"pip install 'homeostat\[kafka\]'"):
        KafkaSource(FEED, Sink().accept)


# --- secrets ---


def test_secrets_are_read_as_kubernetes_mounts_them(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    for key, value in (("user", "homeostat\n"), ("password", "s3cret"), ("ca.crt", "PEM")):
        (tmp_path / "kafka" / key).write_text(value)
    names = {"sasl.username": "user", "sasl.password": "password", "ssl.ca.pem": "ca.crt"}
    secrets = {setting: ("kafka", key) for setting, key in names.items()}
    kafka = Kafka(("one:9093", "two:9093"), "SASL_SSL", secrets)
    assert kafka_client.settings(kafka, "KafkaSource s", kafka_client.secrets_in(tmp_path)) == {
        "bootstrap.servers": "one:9093,two:9093",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "homeostat",
        "sasl.password": "s3cret",
        "ssl.ca.pem": "PEM",
    }


@pytest.mark.parametrize(("name", "key"), [("..", "x"), ("kafka", "../x"), ("kafka", ".."), ("a/b", "c")])
def test_no_secret_is_read_outside_its_folder(tmp_path: Path, name: str, key: str) -> None:
    (tmp_path / "x").write_text("no")
    (tmp_path / "secrets" / "kafka").mkdir(parents=True)
    assert kafka_client.secrets_in(tmp_path / "secrets")(name, key) is None


def test_every_missing_secret_is_told_at_once() -> None:
    secrets = {"sasl.username": ("kafka", "user"), "sasl.password": ("kafka", "password")}
    with pytest.raises(Reject) as refused:
        KafkaSource(replace(FEED, kafka=Kafka(("a:1",), "SASL_PLAINTEXT", secrets)), Sink().accept)
    assert "kafka/user" in str(refused.value)
    assert "kafka/password" in str(refused.value)


def test_a_mechanism_that_is_not_spoken_here_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    for key in ("user", "password"):
        (tmp_path / "kafka" / key).write_text("x")
    (tmp_path / "kafka" / "type").write_text("OAUTHBEARER")
    names = {"sasl.username": "user", "sasl.password": "password", "sasl.mechanism": "type"}
    kafka = Kafka(("a:1",), "SASL_SSL", {setting: ("kafka", key) for setting, key in names.items()})
    with pytest.raises(Reject, match="OAUTHBEARER"):
        kafka_client.settings(kafka, "KafkaSource s", kafka_client.secrets_in(tmp_path))
