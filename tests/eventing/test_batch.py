"""The batched mode: all of a batch or nothing, and the other two modes as `wire.decode` has them."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.batch import BATCHED, MAX_FAULTS, decode_all, encode_batch
from homeostat.eventing.errors import Reject
from homeostat.eventing.wire import STRUCTURED, WireEvent, decode, encode, encode_structured
from tests.eventing.wire_events import events, text

SOUND = {"id": "1", "source": "/s", "type": "t", "specversion": "1.0"}


def batch(body: Any, content_type: str = BATCHED) -> list[WireEvent]:
    return decode_all(
        [("Content-Type", content_type)], body if isinstance(body, bytes) else orjson.dumps(body)
    )


@given(st.lists(events, max_size=5))
def test_a_batch_reads_back_what_it_wrote(several: list[WireEvent]) -> None:
    assert batch(encode_batch(several)) == several


@given(events)
def test_the_other_modes_are_read_as_ever(event: WireEvent) -> None:
    assert decode_all(*encode(event)) == [decode(*encode(event))] == [event]
    assert decode_all([("content-type", STRUCTURED)], encode_structured(event)) == [event]


@given(st.lists(events, min_size=1, max_size=5))
def test_a_batch_means_what_its_events_mean_one_by_one(several: list[WireEvent]) -> None:
    alone = [decode([("content-type", STRUCTURED)], encode_structured(event)) for event in several]
    assert batch(encode_batch(several)) == alone


def test_an_empty_batch_is_fine() -> None:
    assert batch([]) == []
    assert batch(b" [ ] ") == []
    assert encode_batch([]) == b"[]"


@pytest.mark.parametrize(
    "content_type",
    [
        "application/cloudevents-batch+json; charset=UTF-8",
        "Application/CloudEvents-Batch+JSON",
        "application/cloudevents-batch+json ;charset=utf-8",
    ],
)
def test_a_batch_is_known_by_its_content_type(content_type: str) -> None:
    assert batch([SOUND], content_type) == [WireEvent(SOUND)]


def test_the_specifications_own_example_is_read() -> None:
    """JSON format §4.2: two events, the first without JSON data."""
    body = b"""[
      {"specversion": "1.0", "type": "com.example.someevent", "source": "/mycontext/4",
       "id": "B234-1234-1234", "time": "2018-04-05T17:31:00Z",
       "comexampleextension1": "value", "comexampleothervalue": 5,
       "datacontenttype": "application/vnd.apache.thrift.binary", "data_base64": "AQI="},
      {"specversion": "1.0", "type": "com.example.someotherevent", "source": "/mycontext/9",
       "id": "C234-1234-1234", "time": "2018-04-05T17:31:05Z", "comexampleextension1": "value",
       "comexampleothervalue": 5, "datacontenttype": "application/json",
       "data": {"appinfoA": "abc", "appinfoB": 123, "appinfoC": true}}
    ]"""
    first, second = batch(body)
    assert (first.attributes["comexampleothervalue"], first.data) == ("5", b"\x01\x02")
    assert orjson.loads(second.data or b"") == {"appinfoA": "abc", "appinfoB": 123, "appinfoC": True}


def test_one_wrong_event_refuses_the_batch_and_every_fault_has_its_place() -> None:
    wrong: list[Any] = [SOUND, {**SOUND, "source": "", "time": "now"}, SOUND, 7, [SOUND], {**SOUND, "id": {}}]
    with pytest.raises(Reject) as refused:
        batch([*wrong, {**SOUND, "data_base64": "?"}])
    assert [fault.field for fault in refused.value.faults] == [
        "batch[1].source",
        "batch[1].time",
        "batch[3]",
        "batch[4]",
        "batch[5].id",
        "batch[6].data_base64",
    ]


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"[{}", b"null", b'"[]"', b"\xff", b"1", b"[NaN]"])
def test_what_is_no_array_is_refused(body: bytes) -> None:
    with pytest.raises(Reject, match="array of events"):
        batch(body)


def test_a_format_that_is_not_json_is_refused_and_named() -> None:
    with pytest.raises(Reject, match=r"cloudevents-batch\+avro.*batches are read as"):
        batch(b"[]", "application/cloudevents-batch+avro")


def test_a_batch_sent_as_one_event_is_refused() -> None:
    with pytest.raises(Reject, match="one JSON object"):
        decode_all([("content-type", STRUCTURED)], encode_batch([WireEvent(SOUND)]))


def test_a_megabyte_of_rubbish_comes_back_as_a_page_and_at_once() -> None:
    started = time.perf_counter()
    with pytest.raises(Reject) as refused:
        batch(b"[" + b",".join([b"0"] * 500_000) + b"]")
    assert time.perf_counter() - started < 1
    assert len(refused.value.faults) == MAX_FAULTS + 1
    assert "499900 events" in str(refused.value.faults[-1])
    assert len(str(refused.value)) < 10_000


@given(
    st.dictionaries(text, text, max_size=4),
    st.binary(max_size=100) | st.builds(encode_batch, st.lists(events)),
)
def test_no_input_breaks_the_batch(headers: dict[str, str], body: bytes) -> None:
    for content_type in (None, STRUCTURED, BATCHED, "application/json"):
        pairs = [*headers.items(), *([("content-type", content_type)] if content_type else [])]
        try:
            decode_all(pairs, body)
        except Reject as rejected:
            assert rejected.faults  # noqa: PT017 - being read is fine too


@given(st.lists(events, min_size=1, max_size=3), st.data())
def test_a_batch_cut_short_is_refused_whole(several: list[WireEvent], data: Any) -> None:
    whole = encode_batch(several)
    with pytest.raises(Reject):
        batch(whole[: data.draw(st.integers(0, len(whole) - 1))])
