"""Traces across functions by `traceparent` (W3C Trace Context, CloudEvents' distributed tracing extension).

Off, and nothing of OpenTelemetry loaded, unless OpenTelemetry's own variables name a receiver
(OTEL_EXPORTER_OTLP_ENDPOINT); then a traceparent is passed on as it came. On, a function's invocation is a
span of the trace that its event came with, and the events that it decides on carry that span's traceparent.

https://www.w3.org/TR/trace-context/#traceparent-header
https://opentelemetry.io/docs/specs/semconv/cloudevents/cloudevents-spans/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol

from homeostat.eventing.wire import WireEvent

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
Kind = Literal["consumer", "producer", "internal", "client"]
Value = str | bool | int | float | Sequence[str]

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True, slots=True)
class Parent:
    """A valid traceparent: hexadecimal ids, and whether the trace is recorded."""

    trace: str
    span: str
    sampled: bool

    def __str__(self) -> str:
        return f"00-{self.trace}-{self.span}-{self.sampled:02x}"


def read(traceparent: str | None) -> Parent | None:
    """None for what the specification calls invalid: the trace is begun anew. Later versions are read as
    far as the first one goes."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    if not found:
        return None
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not trace.strip("0") or not span.strip("0"):
        return None
    return Parent(trace, span, bool(int(flags, 16) & 1))


class Span(Protocol):
    """What goes on now."""

    @property
    def traceparent(self) -> str | None: ...


class Tracer(Protocol):
    def span(
        self, name: str, kind: Kind, parent: Parent | None, attributes: Mapping[str, Value], linked: bool
    ) -> AbstractContextManager[Span]:
        """A span under `parent`; `linked` to the one that goes on here."""

    def say(self, attributes: Mapping[str, Value]) -> None:
        """Of the span that goes on here."""


@dataclass(frozen=True, slots=True)
class _Passed:
    """No span: what came is passed on."""

    traceparent: str | None


_tracer: Tracer | None = None


def start(environment: Mapping[str, str]) -> None:
    """Begin to trace where a receiver is named. Raises Reject for what cannot be done."""
    global _tracer
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or not any(
        environment.get(one) for one in ENDPOINTS
    ):
        return
    if environment.get("OTEL_TRACES_EXPORTER", "otlp") == "none":
        return
    from .otel import tracer

    _tracer = tracer(environment)


@contextmanager
def using(tracer: Tracer | None) -> Iterator[None]:
    """With another tracer for a while."""
    global _tracer
    before, _tracer = _tracer, tracer
    try:
        yield
    finally:
        _tracer = before


def invocation(function: str, event: WireEvent) -> AbstractContextManager[Span]:
    """A function has an event."""
    said = event.attributes
    traceparent = said.get("traceparent")
    if _tracer is None:
        return nullcontext(_Passed(traceparent))
    attributes: dict[str, Value] = {
        "messaging.system": "cloudevents",
        "messaging.operation.type": "process",
        "messaging.message.conversation_id": said.get("correlationid") or said["id"],
        "homeostat.function": function,
        "homeostat.correlationid": said.get("correlationid") or said["id"],
    }
    for name in ("id", "source", "type", "subject"):
        if name in said:
            attributes[f"cloudevents.event_{name}"] = said[name]
    attributes["cloudevents.event_spec_version"] = said.get("specversion", "1.0")
    return _tracer.span(function, "consumer", read(traceparent), attributes, linked=False)


def step(name: str, parent: str | None, kind: Kind = "internal") -> AbstractContextManager[Span]:
    """A part of it: what is measured, carried out, posted."""
    if _tracer is None:
        return nullcontext(_Passed(parent))
    return _tracer.span(name, kind, read(parent), {}, linked=False)


def decided(detector: str, messages: Sequence[str]) -> None:
    """What goes on here has led to these messages."""
    if _tracer is not None:
        _tracer.say(_decision(detector, messages))


def continued(function: str, traceparent: str | None, detector: str, messages: Sequence[str]) -> str | None:
    """The traceparent of a decision in an earlier trace, which an event of another one has led to: what a
    tick finds out about a canary belongs to what began the canary."""
    if _tracer is None:
        return traceparent
    said = _decision(detector, messages)
    with _tracer.span(f"{function} decides", "internal", read(traceparent), said, linked=True) as span:
        return span.traceparent


def _decision(detector: str, messages: Sequence[str]) -> dict[str, Value]:
    return {"homeostat.detector": detector, "homeostat.decided": list(messages)}
