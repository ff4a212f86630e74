"""KafkaSink on librdkafka's mock cluster: an event is answered once Kafka has it, and not before."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError

from homeostat.eventing import kafka_binding
from homeostat.eventing.broker.kafka_client import secrets_in
from homeostat.eventing.broker.kafka_sink import KafkaSink
from homeostat.eventing.broker.sources import Kafka, KafkaTopic
from homeostat.eventing.errors import Reject
from homeostat.eventing.wire import WireEvent
from tests.eventing.kafka_cluster import PRODUCE, Cluster, asynchronous, cluster

TOPIC = KafkaTopic("anomalies", "homeostat", Kafka(("127.0.0.1:1",)), "anomalies", "binary")


@pytest.fixture
def kafka() -> Iterator[Cluster]:
    with cluster() as running:
        running.topic("anomalies", 4)
        yield running


def anomaly(identity: str, data: bytes = b'{"score":3.5}', **more: str) -> WireEvent:
    core = {"id": identity, "source": "/test", "type": "dev.homeostat.anomaly.detected", "specversion": "1.0"}
    return WireEvent({**core, "datacontenttype": "application/json", "subject": "pump", **more}, data)


@asynccontextmanager
async def writing(kafka: Cluster, seconds: float = 10.0, **changes: Any) -> AsyncIterator[KafkaSink]:
    topic = replace(TOPIC, kafka=Kafka((kafka.servers,)), **changes)
    sink = KafkaSink(topic, write_seconds=seconds)
    try:
        yield sink
    finally:
        await sink.close()


@pytest.mark.parametrize("mode", ["binary", "structured"])
@asynchronous
async def test_an_event_is_written_whole_and_answered_202(kafka: Cluster, mode: str) -> None:
    event = anomaly("1", partitionkey="line1")
    async with writing(kafka, mode=mode) as sink:
        answer = await sink.send(event)
        # Already there: the answer came after Kafka's own.
        (message,) = kafka.read("anomalies", 1)
    assert answer.code == 202
    assert message.key() == b"line1"
    assert kafka_binding.decode(message.headers(), message.key(), message.value()) == event
    assert ("ce_id" in dict(message.headers())) == (mode == "binary")


@asynchronous
async def test_events_of_one_partition_key_keep_their_order(kafka: Cluster) -> None:
    async with writing(kafka) as sink:
        answers = await asyncio.gather(
            *(sink.send(anomaly(str(number), partitionkey=f"line{number % 3}")) for number in range(60))
        )
    assert {answer.code for answer in answers} == {202}
    written = kafka.read("anomalies", 60)
    for line in (b"line0", b"line1", b"line2"):
        ids = [int(dict(one.headers())["ce_id"]) for one in written if one.key() == line]
        assert ids == sorted(ids)
        assert len(ids) == 20


@asynchronous
async def test_a_kafka_that_is_away_gets_no_answer_with_a_reason_and_the_next_try_succeeds(
    kafka: Cluster,
) -> None:
    async with writing(kafka, seconds=3.0) as sink:
        assert (await sink.send(anomaly("1"))).code == 202
        kafka.down(1)
        answer = await sink.send(anomaly("2"))
        assert answer.code is None
        assert b"timed out" in answer.body
        kafka.up(1)
        tries = 0
        while (await sink.send(anomaly("2"))).code != 202:
            tries += 1
            assert tries < 10
    assert {dict(one.headers())["ce_id"] for one in kafka.read("anomalies", 2)} == {b"1", b"2"}


@asynchronous
async def test_kafka_is_asked_again_where_it_fails_for_a_moment(kafka: Cluster) -> None:
    async with writing(kafka) as sink:
        kafka.fail(PRODUCE, [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.NOT_ENOUGH_REPLICAS])
        assert (await sink.send(anomaly("1"))).code == 202
    assert len(kafka.read("anomalies", 2, seconds=1)) == 1


@asynchronous
async def test_an_event_too_large_for_the_topic_is_answered_413(kafka: Cluster) -> None:
    async with writing(kafka) as sink:
        # Of librdkafka's own accord, and on the broker's word.
        assert (await sink.send(anomaly("1", b'"' + b"x" * 2_000_000 + b'"'))).code == 413
        kafka.fail(PRODUCE, [KafkaError.MSG_SIZE_TOO_LARGE])
        assert (await sink.send(anomaly("2"))).code == 413
        assert (await sink.send(anomaly("3"))).code == 202


@asynchronous
async def test_a_producer_that_lost_its_place_is_replaced(kafka: Cluster) -> None:
    async with writing(kafka) as sink:
        assert (await sink.send(anomaly("1"))).code == 202
        kafka.fail(PRODUCE, [KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER])
        lost = await asyncio.wait_for(sink.send(anomaly("2")), 5)
        assert lost.code is None
        assert (await asyncio.wait_for(sink.send(anomaly("2")), 5)).code == 202


@asynchronous
async def test_who_stops_waiting_disturbs_nobody(kafka: Cluster) -> None:
    async with writing(kafka) as sink:
        kafka.down(1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sink.send(anomaly("1")), 0.2)
        kafka.up(1)
        assert (await asyncio.wait_for(sink.send(anomaly("2")), 20)).code == 202


def test_without_confluent_kafka_the_mend_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(Reject, match=r"pip install 'homeostat\[kafka\]'"):
        KafkaSink(TOPIC)


def test_a_sinks_secret_says_how_to_connect(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    secrets = {
        setting: ("kafka", key)
        for setting, key in (
            ("security.protocol", "protocol"),
            ("sasl.mechanism", "sasl.mechanism"),
            ("sasl.username", "user"),
            ("sasl.password", "password"),
            ("ssl.ca.pem", "ca.crt"),
        )
    }
    secured = replace(TOPIC, kafka=Kafka(("a:1",), "", secrets))
    (tmp_path / "kafka" / "protocol").write_text("SASL_SSL")
    with pytest.raises(Reject, match=r"kafka/user.*kafka/password"):
        KafkaSink(secured, secret=secrets_in(tmp_path))
    for key in ("user", "password"):
        (tmp_path / "kafka" / key).write_text(key)
    KafkaSink(secured, secret=secrets_in(tmp_path))
