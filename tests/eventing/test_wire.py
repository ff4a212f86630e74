"""CloudEvents on HTTP: both modes mean the same, and nothing that comes in breaks the codec."""

from __future__ import annotations

import string

import orjson
import pytest
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.errors import Reject
from homeostat.eventing.wire import STRUCTURED, WireEvent, decode, encode, encode_structured

text = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u007f"), min_size=1, max_size=40
)
names = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=20).filter(
    lambda name: name not in ("data", "data_base64", "datacontenttype", "time", "specversion")
)
events = st.builds(
    lambda core, more, data: WireEvent({**more, **core, "specversion": "1.0"}, data),
    st.fixed_dictionaries({"id": text, "source": text, "type": text}),
    st.dictionaries(names, text, max_size=4),
    st.none() | st.recursive(st.integers(-(2**63), 2**63) | text, st.lists, max_leaves=5).map(orjson.dumps),
)


@given(events)
def test_binary_mode_reads_back_what_it_wrote(event: WireEvent) -> None:
    headers, body = encode(event)
    assert decode(headers, body) == event


@given(events)
def test_structured_mode_reads_back_what_it_wrote(event: WireEvent) -> None:
    assert decode([("content-type", STRUCTURED)], encode_structured(event)) == event


@given(st.dictionaries(text, text, max_size=6), st.binary(max_size=200))
def test_no_input_breaks_the_codec(headers: dict[str, str], body: bytes) -> None:
    for content_type in (None, STRUCTURED, "application/json"):
        pairs = [*headers.items(), *([("content-type", content_type)] if content_type else [])]
        try:
            decode(pairs, body)
        except Reject as rejected:
            assert rejected.faults  # noqa: PT017 - being read is fine too


def test_every_fault_is_told_at_once() -> None:
    headers = [("ce-id", ""), ("ce-type", "t"), ("ce-specversion", "0.3"), ("ce-time", "yesterday")]
    with pytest.raises(Reject) as refused:
        decode(headers, b"")
    assert {fault.field for fault in refused.value.faults} == {"id", "source", "specversion", "time"}


def test_what_is_no_cloudevent_says_how_to_send_one() -> None:
    with pytest.raises(Reject, match="ce-id"):
        decode([("content-type", "text/plain")], b"hello")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"id": {}}', b'{"data_base64": "?"}'])
def test_a_structured_body_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(Reject):
        decode([("content-type", STRUCTURED)], body)


def test_the_sdks_events_are_read_in_both_modes() -> None:
    sent = CloudEvent({"type": "t", "source": "/s", "subject": "Pumpe „7“ 100 %"}, {"rows": 3})
    for headers, body in (to_binary(sent), to_structured(sent)):
        got = decode(headers.items(), body)
        assert got.attributes["id"] == sent["id"]
        assert orjson.loads(got.data or b"") == {"rows": 3}


def test_binary_data_travels_untouched_in_structured_mode() -> None:
    core = {"id": "1", "source": "/s", "type": "t", "specversion": "1.0"}
    event = WireEvent({**core, "datacontenttype": "application/octet-stream"}, b"\x00\xff")
    assert decode([("content-type", STRUCTURED)], encode_structured(event)) == event


def test_twins_are_told_by_source_id_and_type() -> None:
    core = {"id": "1", "source": "/s", "specversion": "1.0"}
    request, response = WireEvent({**core, "type": "request"}), WireEvent({**core, "type": "response"})
    assert request.key != response.key
