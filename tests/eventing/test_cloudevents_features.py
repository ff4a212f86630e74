"""CloudEvents' own conformance material (cloudevents/conformance) against the wire codec, both ways.

The HTTP feature's requests are read as their tables say; the sample events of `v1.yaml` and
`v1_minimum.yaml`, which its tool sends to whoever claims conformance, arrive as they left; the JSON format's
schema holds for what is written in structured mode; and the official SDK reads what we write, as we read what
it writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson
import pytest
import yaml
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent, from_http
from hypothesis import given
from jsonschema import Draft7Validator

from homeostat.eventing.batch import BATCHED, decode_all, encode_batch
from homeostat.eventing.wire import STRUCTURED, WireEvent, decode, encode, encode_structured
from tests.eventing.gherkin import Scenario, scenarios
from tests.eventing.wire_events import events, json_events

ROOT = Path(__file__).parents[2]
VECTORS = Path(os.environ.get("HOMEOSTAT_SHARED", ROOT.parent / "shared")) / "vectors" / "cloudevents"
Headers = list[tuple[str, str]]
Reader = Callable[[Headers, bytes], WireEvent]


def again(write: Callable[[WireEvent], tuple[Headers, bytes]]) -> Reader:
    """Reads the message, writes the event, and reads what was written."""
    return lambda headers, body: decode(*write(decode(headers, body)))


def structured(event: WireEvent) -> tuple[Headers, bytes]:
    return [("content-type", STRUCTURED)], encode_structured(event)


READERS: dict[str, Reader] = {
    "read": decode,
    "written again in binary mode": again(encode),
    "written again in structured mode": again(structured),
    "read by the ingress": lambda headers, body: decode_all(headers, body)[0],
    "batched": lambda headers, body: decode_all(
        [("content-type", BATCHED)], encode_batch([decode(headers, body)])
    )[0],
}


def features() -> Iterator[Any]:
    """Without the files one empty case is left, which the `shared` fixture skips or, in CI, fails."""
    file = VECTORS / "http-protocol-binding.feature"
    for scenario in scenarios(file) if file.is_file() else [Scenario("no features")]:
        yield pytest.param(scenario, id=scenario.name)


def message(text: str) -> tuple[Headers, bytes]:
    """An HTTP request as it is written in the feature, without its first line."""
    head, _, body = text.partition("\n\n")
    lines = [line.partition(": ") for line in head.splitlines()[1:]]
    return [(name, value) for name, _, value in lines], body.encode()


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("scenario", features())
def test_the_http_feature(scenario: Scenario, read: Reader, shared: Path) -> None:
    event, checked = WireEvent({}), 0
    for step in scenario.steps:
        match step.text:
            case "Given an HTTP request":
                headers, body = message(step.doc)
            case "When parsed as HTTP request":
                event = read(headers, body)
            case "Then the attributes are:":
                assert event.attributes == {row["key"]: row["value"] for row in step.table}
                checked += 1
            case "And the data is equal to the following JSON:":
                assert orjson.loads(event.data or b"") == orjson.loads(step.doc)
                checked += 1
            case unknown:
                pytest.fail(f"no meaning here for {unknown!r}")
    assert checked == 2


@pytest.mark.parametrize("scenario", features())
def test_the_sdk_reads_the_features_requests_as_we_do(scenario: Scenario, shared: Path) -> None:
    headers, body = message(scenario.steps[0].doc)
    ours, theirs = decode(headers, body), from_http(dict(headers), body)
    assert dict(theirs.get_attributes()) == ours.attributes
    assert theirs.get_data() == orjson.loads(ours.data or b"")


def test_the_feature_is_read_whole(shared: Path) -> None:
    assert len(list(features())) == 4


def samples() -> Iterator[Any]:
    for file in sorted(VECTORS.glob("v1*.yaml")):
        # Plain strings: an event's attributes are text, and `specversion: 1.0` is no number.
        for sample in yaml.load_all(file.read_text(), yaml.BaseLoader):
            context = sample["ContextAttributes"]
            # YAML's block ends with a newline that no header and no CloudEvents string can hold.
            extensions = {name: value.rstrip("\n") for name, value in context.pop("Extensions", {}).items()}
            modes = [sample["Mode"]] if "Mode" in sample else ["binary", "structured"]
            for mode in modes:
                event = WireEvent({**context, **extensions}, sample["Data"].encode())
                transport = list(sample.get("TransportExtensions", {}).items())
                yield pytest.param(event, mode, transport, id=f"{file.stem}: {context['id']} {mode}")
    if not VECTORS.is_dir():
        yield pytest.param(WireEvent({}), "", [], id="no samples")


@pytest.mark.parametrize(("event", "mode", "transport"), samples())
def test_a_sample_event_arrives_as_it_left(
    event: WireEvent, mode: str, transport: Headers, shared: Path
) -> None:
    headers, body = {"binary": encode, "structured": structured}[mode](event)
    got = decode([*transport, *headers], body)
    assert got.attributes == event.attributes
    if "json" in event.attributes.get("datacontenttype", "json") and mode == "structured":
        assert orjson.loads(got.data or b"") == orjson.loads(event.data or b"")
    else:
        assert got.data == event.data


@pytest.mark.parametrize(("event", "mode", "transport"), samples())
def test_the_sdk_sends_a_sample_event_and_we_read_it(
    event: WireEvent, mode: str, transport: Headers, shared: Path
) -> None:
    is_json = "json" in event.attributes.get("datacontenttype", "json")
    data = orjson.loads(event.data or b"") if is_json else (event.data or b"").decode()
    sent = CloudEvent(dict(event.attributes), data)
    # In binary mode the SDK writes all data as JSON unless it is told how.
    headers, body = (
        to_structured(sent) if mode == "structured" else to_binary(sent, None if is_json else str.encode)
    )
    got = decode([*transport, *headers.items()], body)
    # To an event without a time it adds the present.
    assert {**got.attributes, "time": ""} == {**event.attributes, "time": ""}
    assert (orjson.loads(got.data or b"") if is_json else (got.data or b"").decode()) == data


def without_its_own_time(event: CloudEvent, sent: WireEvent) -> dict[str, str]:
    """What the SDK read; to an event without a time it adds the present."""
    return {
        name: value
        for name, value in event.get_attributes().items()
        if name in sent.attributes or name != "time"
    }


@pytest.fixture(scope="module")
def schema(shared: Path) -> Draft7Validator:
    document = orjson.loads((shared / "vectors" / "cloudevents" / "cloudevents.json").read_bytes())
    Draft7Validator.check_schema(document)
    return Draft7Validator(document, format_checker=Draft7Validator.FORMAT_CHECKER)


@given(event=events)
def test_what_is_written_in_structured_mode_fits_the_json_schema(
    event: WireEvent, schema: Draft7Validator
) -> None:
    schema.validate(orjson.loads(encode_structured(event)))
    for document in orjson.loads(encode_batch([event, event])):
        schema.validate(document)


def test_the_schema_can_fail(schema: Draft7Validator) -> None:
    sound = {"id": "1", "source": "/s", "type": "t", "specversion": "1.0"}
    assert schema.is_valid(sound)
    for wrong in ({"id": ""}, {"time": "now"}, {"data_base64": 1}, {"subject": ""}):
        assert not schema.is_valid(sound | wrong)


@given(event=events)
def test_the_sdk_reads_what_is_written_in_structured_mode(event: WireEvent) -> None:
    headers, body = structured(event)
    theirs = from_http(dict(headers), body)
    assert without_its_own_time(theirs, event) == event.attributes
    data = theirs.get_data()
    raw = event.data if isinstance(data, bytes) or event.data is None else orjson.loads(event.data)
    assert data == raw


@given(event=json_events)
def test_the_sdk_reads_what_is_written_in_binary_mode(event: WireEvent) -> None:
    headers, body = encode(event)
    theirs = from_http(dict(headers), body)
    # It leaves the percent encoding of §3.1.3.2 to its caller.
    read = without_its_own_time(theirs, event)
    assert {name: unquote(value) for name, value in read.items()} == event.attributes
    assert theirs.get_data() == (None if event.data is None else orjson.loads(event.data))
