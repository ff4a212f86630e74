"""A chain of functions is one trace: from the first event to the last, each span under what decided it."""

from __future__ import annotations

import asyncio
import gzip
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from homeostat.eventing import codec
from homeostat.eventing.errors import Reject
from homeostat.eventing.messages import CanaryTick, DataLanded, TrainingRequested
from homeostat.eventing.wire import WireEvent
from homeostat.functions.canary import CanaryFacts
from homeostat.functions.detector import Batch, Detector
from homeostat.infra import otel, otlp, tracing
from homeostat.infra.local.store import Store
from homeostat.infra.shell import Host, handle
from tests.functions.detectors import NOON, batch, cause, completed, figures, spec

HEX = "0123456789abcdef"
ids = st.text(HEX, min_size=32, max_size=32), st.text(HEX, min_size=16, max_size=16)


# --- traceparent -----------------------------------------------------------------------------------------
@given(ids[0], ids[1], st.integers(0, 255), st.sampled_from(["00", "01", "cc", "fe"]))
def test_a_valid_traceparent_is_read_and_written_alike(
    trace: str, span: str, flags: int, version: str
) -> None:
    found = tracing.read(f"{version}-{trace}-{span}-{flags:02x}")
    if not trace.strip("0") or not span.strip("0"):
        assert found is None
        return
    assert found == tracing.Parent(trace, span, bool(flags & 1))
    assert tracing.read(str(found)) == found


@given(st.text(max_size=80) | st.text(HEX + "-", max_size=80))
def test_whatever_comes_is_read_as_valid_or_as_none(text: str) -> None:
    found = tracing.read(text)
    assert found is None or (len(found.trace), len(found.span)) == (32, 16)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
    ],
)
def test_what_the_specification_calls_invalid_is_none(text: str | None) -> None:
    assert tracing.read(text) is None


def test_a_later_version_is_read_as_far_as_the_first_goes() -> None:
    later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what.comes"
    assert tracing.read(later) is not None


# --- a receiver ------------------------------------------------------------------------------------------
@dataclass
class Receiver:
    """What OTLP/HTTP takes, at a real port."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    spans: dict[str, Any] = field(default_factory=dict)
    service: str = ""

    def take(self, headers: dict[str, str], body: bytes) -> int:
        self.requests.append(headers)
        answer = self.answers.pop(0) if self.answers else 200
        if answer == 200:
            given = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
            for one in ExportTraceServiceRequest.FromString(given).resource_spans:
                said = {pair.key: pair.value.string_value for pair in one.resource.attributes}
                self.service = said["service.name"]
                self.spans |= {span.span_id.hex(): span for scope in one.scope_spans for span in scope.spans}
        return answer

    def named(self, name: str) -> Any:
        (found,) = [one for one in self.spans.values() if one.name == name]
        return found


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): text for name, text in self.headers.items()}
            body = self.rfile.read(int(headers["content-length"]))
            self.send_response(found.take(headers | {":path": self.path}, body))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def traced(receiver: Receiver, **more: str) -> Iterator[None]:
    """Spans are at the receiver when this is over."""
    tracer = otel.tracer({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, **more})
    with tracing.using(tracer):
        yield
    tracer.provider.shutdown()


def attributes(span: Any) -> dict[str, Any]:
    def value(one: Any) -> Any:
        kind = one.WhichOneof("value")
        return (
            [value(each) for each in one.array_value.values] if kind == "array_value" else getattr(one, kind)
        )

    return {one.key: value(one.value) for one in span.attributes}


# --- a chain ---------------------------------------------------------------------------------------------
@dataclass
class Chain:
    """Functions on a real store; what they post, whoever it wakes is given by hand."""

    store: Store
    posted: list[WireEvent] = field(default_factory=list)
    commands: list[Any] = field(default_factory=list)

    def host(self) -> Host:
        async def execute(command: Any, _: Detector) -> None:
            self.commands.append(command)

        async def emit(events: Sequence[WireEvent]) -> None:
            self.posted += events

        async def look(landed: DataLanded, _: codec.Context, __: Detector) -> Batch:
            return batch(landed.uri, rows=6000, etag=landed.etag)

        async def canary(*_: object) -> CanaryFacts | None:
            return CanaryFacts(ready=True, canary=figures(500))

        class Everything(dict[Any, Any]):
            def __missing__(self, _: Any) -> Any:
                return execute

        return Host(
            detectors=self.store,
            emit=emit,
            executors=Everything(),
            observers={Batch: look, CanaryFacts: canary},
            clock=lambda: NOON,
        )

    def give(self, function: str, event: WireEvent) -> WireEvent | None:
        """What the function posted on it, the last of it."""
        self.posted.clear()
        asyncio.run(handle(function, event, self.host()))
        return self.posted[-1] if self.posted else None

    def to_canary(self) -> list[WireEvent]:
        """From new data to the first canary: the events between the functions."""
        landed = event(DataLanded, uri="s3://plant/pump/a.csv", etag="1", size=10)
        asked = self.give("receive-data", landed)
        assert asked is not None
        self.give("plan-retraining", asked)
        (start,) = self.commands
        found = self.store.snapshot("pump", NOON, cause())
        assert found is not None
        assert found[0].status.run is not None
        # What the pipeline announces goes back to what began the run.
        done = codec.announce(
            completed(run=start.run),
            id="done",
            source="/homeostat/runs",
            subject="pump",
            cause=found[0].status.run.cause,
            now=NOON,
        )
        passed = self.give("judge-candidate", done)
        assert passed is not None
        begun = self.give("roll-out", passed)
        assert begun is not None
        return [landed, asked, done, passed, begun]


def event(kind: type[Any], subject: str | None = "pump", id: str = "e1", **data: Any) -> WireEvent:
    attributes = {"specversion": "1.0", "id": id, "source": "/test", "type": kind.type}
    if subject:
        attributes["subject"] = subject
    return WireEvent(attributes, orjson.dumps(data))


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    with closing(Store(tmp_path / "detectors.db")) as store:
        store.apply("pump", spec())
        yield Chain(store)


def parent_of(one: WireEvent) -> tracing.Parent:
    found = tracing.read(one.attributes.get("traceparent"))
    assert found is not None
    return found


def test_a_chain_of_functions_is_one_trace_with_each_span_under_what_decided_it(
    chain: Chain, receiver: Receiver
) -> None:
    with traced(receiver):
        events = chain.to_canary()
    functions = [
        receiver.named(one) for one in ("receive-data", "plan-retraining", "judge-candidate", "roll-out")
    ]
    assert {one.trace_id.hex() for one in receiver.spans.values()} == {parent_of(events[-1]).trace}
    first, *others = functions
    assert first.parent_span_id == b""
    assert [one.parent_span_id for one in others] == [one.span_id for one in functions[:-1]]
    # An event carries the span that decided it.
    assert parent_of(events[1]).span == first.span_id.hex()
    assert parent_of(events[-1]).span == functions[-1].span_id.hex()
    assert receiver.service == "homeostat"


def test_a_span_says_what_it_was_woken_by_and_what_was_decided(chain: Chain, receiver: Receiver) -> None:
    with traced(receiver):
        chain.to_canary()
    said = attributes(receiver.named("plan-retraining"))
    assert said["messaging.system"] == "cloudevents"
    assert said["cloudevents.event_type"] == TrainingRequested.type
    assert said["cloudevents.event_subject"] == "pump"
    assert said["cloudevents.event_source"] == "/homeostat/functions/receive-data"
    assert said["homeostat.correlationid"] == "e1"
    assert said["homeostat.detector"] == "pump"
    assert "StartTraining" in said["homeostat.decided"]
    assert receiver.named("plan-retraining").kind == 5, "a consumer"
    below = {
        one.name
        for one in receiver.spans.values()
        if one.parent_span_id == receiver.named("plan-retraining").span_id
    }
    assert "carry out StartTraining" in below
    observed = [one.parent_span_id for one in receiver.spans.values() if one.name == "observe"]
    assert receiver.named("receive-data").span_id in observed


def test_what_a_tick_finds_out_about_a_canary_belongs_to_the_trace_that_began_it(
    chain: Chain, receiver: Receiver
) -> None:
    with traced(receiver):
        *_, begun = chain.to_canary()
        asyncio.run(handle("roll-out", event(CanaryTick, None, "t1"), chain.host()))
        chain.posted.clear()
        for number in range(2, 20):
            asyncio.run(handle("roll-out", event(CanaryTick, None, f"t{number}"), chain.host()))
            if chain.posted:
                break
    assert chain.posted, "no tick decided anything"
    (one, *_) = [each for each in receiver.spans.values() if each.name == "roll-out decides"]
    assert {parent_of(each).trace for each in chain.posted} == {parent_of(begun).trace}
    assert one.trace_id.hex() == parent_of(begun).trace
    (link,) = one.links
    tick = receiver.spans[link.span_id.hex()]
    assert (tick.name, attributes(tick)["cloudevents.event_type"]) == ("roll-out", CanaryTick.type)
    assert tick.trace_id.hex() != parent_of(begun).trace


def test_what_was_not_sampled_upstream_is_not_recorded_and_carries_on(
    chain: Chain, receiver: Receiver
) -> None:
    unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
    with traced(receiver):
        landed = event(DataLanded, uri="s3://plant/pump/a.csv", etag="1", size=10)
        asked = chain.give(
            "receive-data", WireEvent({**landed.attributes, "traceparent": unsampled}, landed.data)
        )
    assert asked is not None
    assert (parent_of(asked).trace, parent_of(asked).sampled) == (unsampled[3:35], False)
    assert receiver.spans == {}


def test_a_failure_is_on_the_span(chain: Chain, receiver: Receiver) -> None:
    with traced(receiver), pytest.raises(Reject):
        chain.give("plan-retraining", event(TrainingRequested, "nobody"))
    failed = receiver.named("plan-retraining")
    assert failed.status.code == 2
    assert [one.name for one in failed.events] == ["exception"]


# --- off -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("given", ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "mine", None])
def test_without_a_receiver_a_traceparent_is_passed_on_as_it_came(chain: Chain, given: str | None) -> None:
    landed = event(DataLanded, uri="s3://plant/pump/a.csv", etag="1", size=10)
    more = {"traceparent": given} if given else {}
    asked = chain.give("receive-data", WireEvent({**landed.attributes, **more}, landed.data))
    assert asked is not None
    assert asked.attributes.get("traceparent") == given


def test_without_a_receiver_nothing_of_opentelemetry_is_loaded() -> None:
    probe = (
        "import sys; from homeostat.infra import serve, tracing; tracing.start({});"
        " print([one for one in sys.modules if one.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_it_is_off_as_opentelemetrys_variables_say(environment: dict[str, str]) -> None:
    with tracing.using(None):
        tracing.start(environment)
        with tracing.invocation("roll-out", event(CanaryTick, None)) as span:
            assert span.traceparent is None


# --- the exporter ----------------------------------------------------------------------------------------
def test_headers_compression_and_path_are_as_the_variables_say(receiver: Receiver) -> None:
    more = {"OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b,y=2", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
    with traced(receiver, **more), tracing.invocation("roll-out", event(CanaryTick, None)):
        pass
    (headers,) = receiver.requests
    assert (headers["x-key"], headers["y"], headers[":path"]) == ("a b", "2", "/v1/traces")
    assert receiver.named("roll-out").end_time_unix_nano >= receiver.named("roll-out").start_time_unix_nano


def test_a_receiver_that_is_busy_is_asked_again(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "PAUSE", 0.01)
    receiver.answers = [503, 429]
    with traced(receiver), tracing.invocation("roll-out", event(CanaryTick, None)):
        pass
    assert len(receiver.requests) == 3
    assert receiver.named("roll-out")


def test_a_refusal_is_told_once_and_hinders_nothing(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [400]
    with traced(receiver), tracing.invocation("roll-out", event(CanaryTick, None)):
        pass
    assert len(receiver.requests) == 1
    assert "answered 400" in caplog.text


def test_all_that_is_wrong_with_the_variables_is_told_at_once() -> None:
    wrong = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "soon",
    }
    with pytest.raises(Reject) as refused:
        otlp.exporter(wrong)
    assert {one.field for one in refused.value.faults} == wrong.keys()
