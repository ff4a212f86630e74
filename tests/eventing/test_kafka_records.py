"""Kafka records become the events that Knative's KafkaSource makes of them, and none is lost."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.broker.kafka_records import Record, event_of
from homeostat.eventing.wire import MAX_ATTRIBUTES, check
from tests.eventing.kafka_feed import EVENT, FEED


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
