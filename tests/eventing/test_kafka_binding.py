"""CloudEvents on Kafka: both modes mean the same, the binding's features hold, nothing breaks the codec."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
from cloudevents.http import CloudEvent
from cloudevents.kafka import KafkaMessage, from_binary, from_structured, to_binary
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.errors import Reject
from homeostat.eventing.kafka_binding import decode, encode, encode_structured
from homeostat.eventing.wire import WireEvent

text = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u007f"), min_size=1, max_size=40
)
names = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=20).filter(
    lambda name: name not in ("data", "database64", "datacontenttype", "time", "specversion")
)
cores = st.fixed_dictionaries({"id": text, "source": text, "type": text})
extensions = st.dictionaries(names | st.just("partitionkey"), text, max_size=4)


def built(core: dict[str, str], more: dict[str, str], data: bytes | None, media: str | None) -> WireEvent:
    declared = {"datacontenttype": media} if media else {}
    return WireEvent({**more, **core, **declared, "specversion": "1.0"}, data)


binary = st.builds(
    built, cores, extensions, st.none() | st.binary(), st.none() | st.just("application/octet-stream")
)
json_data = st.recursive(st.integers(-(2**63), 2**63) | text, st.lists, max_leaves=5).map(orjson.dumps)
documents = st.builds(
    built, cores, extensions, st.none() | json_data, st.none() | st.just("application/json")
)


@given(binary)
def test_binary_mode_reads_back_what_it_wrote(event: WireEvent) -> None:
    headers, key, value = encode(event)
    assert decode(headers, key, value) == event
    assert key == (event.attributes["partitionkey"].encode() if "partitionkey" in event.attributes else None)


@given(documents)
def test_structured_mode_reads_back_what_it_wrote(event: WireEvent) -> None:
    headers, key, value = encode_structured(event)
    assert decode(headers, key, value) == event


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ce_id", "ce_source", "ce_type", "ce_specversion", "content-type"]) | st.text(),
            st.none() | st.binary(max_size=20) | st.sampled_from([b"1.0", b"application/cloudevents+json"]),
        ),
        max_size=8,
    ),
    st.none() | st.binary(max_size=20),
    st.none() | st.binary(max_size=100),
)
def test_no_record_breaks_the_codec(
    headers: list[tuple[str, bytes | None]], key: bytes | None, value: bytes | None
) -> None:
    try:
        decode(headers, key, value)
    except Reject as rejected:
        assert rejected.faults  # noqa: PT017 - being read is fine too


def test_a_record_that_does_not_claim_to_be_an_event_is_none() -> None:
    assert decode(None, b"k", b"1,2,3") is None
    assert decode([("ce_id", b"1"), ("content-type", b"text/csv")], b"k", b"1,2,3") is None


def test_every_fault_of_a_record_that_does_is_told_at_once() -> None:
    headers = [("ce_specversion", b"0.3"), ("ce_id", b""), ("ce_type", b"t"), ("ce_time", b"yesterday")]
    with pytest.raises(Reject) as refused:
        decode(headers, None, None)
    assert {fault.field for fault in refused.value.faults} == {"id", "source", "specversion", "time"}


def test_attributes_are_utf8_and_not_percent_encoded() -> None:
    core = {"id": "1", "source": "/s", "type": "t", "specversion": "1.0", "subject": "Pumpe „7“ 100 %"}
    headers, _, _ = encode(WireEvent(core, b"{}"))
    assert dict(headers)["ce_subject"] == "Pumpe „7“ 100 %".encode()
    with pytest.raises(Reject, match="ce_subject"):
        decode([*headers, ("ce_subject", b"\xff")], None, b"{}")


def test_the_last_of_two_headers_of_one_name_counts() -> None:
    headers, _, value = encode(WireEvent({"id": "1", "source": "/s", "type": "t", "specversion": "1.0"}))
    event = decode([*headers, ("ce_id", b"2")], None, value)
    assert event is not None
    assert event.attributes["id"] == "2"


def test_an_event_that_carries_an_event_is_not_taken_for_it() -> None:
    core = {"id": "outer", "source": "/s", "type": "t", "specversion": "1.0"}
    inner = b'{"id":"inner","source":"/s","type":"t","specversion":"1.0"}'
    event = WireEvent({**core, "datacontenttype": "application/cloudevents+json"}, inner)
    headers, key, value = encode(event)
    assert decode(headers, key, value) == event


def test_a_key_is_the_partition_key_of_an_event_that_names_none() -> None:
    headers, _, value = encode(WireEvent({"id": "1", "source": "/s", "type": "t", "specversion": "1.0"}))
    for key, read in ((b"line1", "line1"), (b"", None), (b"\xff", None), (b"\x00", None)):
        event = decode(headers, key, value)
        assert event is not None
        assert event.attributes.get("partitionkey") == read


def test_the_sdk_and_we_read_each_other() -> None:
    attributes = {"type": "t", "source": "/s", "datacontenttype": "application/json", "partitionkey": "line1"}
    sent = CloudEvent(attributes, {"rows": 3})
    message = to_binary(sent)
    ours = decode(list(message.headers.items()), str(message.key).encode(), bytes(message.value))
    assert ours is not None
    assert ours.attributes["id"] == sent["id"]
    assert ours.attributes["partitionkey"] == "line1"
    assert orjson.loads(ours.data or b"") == {"rows": 3}
    for write, read in ((encode, from_binary), (encode_structured, from_structured)):
        headers, key, value = write(ours)
        theirs = read(KafkaMessage(dict(headers), key, value))
        assert theirs["id"] == sent["id"]
        assert theirs.data == {"rows": 3}
        assert key == b"line1"


# --- the binding's own features, run from their Gherkin ---


@dataclass
class Scenario:
    """What a scenario of kafka-protocol-binding.feature says: a record, and what it must be read as."""

    name: str
    payload: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    data: str = ""


def scenarios(feature: str) -> list[Scenario]:
    found = []
    for block in re.split(r"\n\s*Scenario(?: Outline)?: ", feature)[1:]:
        body, _, examples = block.partition("Examples:")
        payload, data = re.findall(r'"""\n(.*?)"""', body, re.S)
        headers = _table(body.split("Kafka headers:")[1].split("When")[0])
        attributes = _table(body.split("the attributes are:")[1].split("And the data")[0])
        columns = [[cell.strip() for cell in row.split("|")[1:-1]] for row in _rows(examples)]
        for values in columns[1:] or [[]]:
            filled = {key: _fill(value, columns, values) for key, value in headers.items()}
            name = f"{body.splitlines()[0]} {values}"
            found.append(Scenario(name, payload, filled, attributes, data))
    return found


def _rows(part: str) -> list[str]:
    return [line for line in part.splitlines() if line.strip().startswith("|")]


def _table(part: str) -> dict[str, str]:
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in _rows(part)]
    return {row[0]: row[1] for row in cells[1:]}


def _fill(value: str, columns: list[list[str]], values: list[str]) -> str:
    for name, filling in zip(columns[0] if columns else [], values, strict=True):
        value = value.replace(f"<{name}>", filling)
    return value


def test_the_bindings_own_features_hold(shared: Path) -> None:
    feature = (shared / "vectors" / "cloudevents" / "kafka-protocol-binding.feature").read_text()
    found = scenarios(feature)
    assert len(found) == 3, [one.name for one in found]
    for scenario in found:
        headers = [(name, value.encode()) for name, value in scenario.headers.items()]
        event = decode(headers, None, scenario.payload.encode())
        assert event is not None, scenario.name
        assert event.attributes == scenario.attributes, scenario.name
        assert orjson.loads(event.data or b"") == orjson.loads(scenario.data), scenario.name
