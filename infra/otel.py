"""Spans of OpenTelemetry's SDK. Loaded only where traces are wanted (see `tracing`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags

from . import otlp
from .tracing import Kind, Parent, Span, Value

KINDS: Mapping[Kind, SpanKind] = {
    "consumer": SpanKind.CONSUMER,
    "producer": SpanKind.PRODUCER,
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
}


class _Recorded:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        return str(_parent(self._span.get_span_context()))


class SdkTracer:
    """`tracing.Tracer`. Sampling, limits and the resource are the SDK's to read from OTEL_*."""

    def __init__(self, exporter: SpanExporter) -> None:
        resource = Resource.create()
        if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: "homeostat"}))
        # Ends, and sends what is left, when the process does.
        self.provider = TracerProvider(resource=resource)
        self.provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self.provider.get_tracer("homeostat")

    @contextmanager
    def span(
        self, name: str, kind: Kind, parent: Parent | None, attributes: Mapping[str, Value], linked: bool
    ) -> Iterator[Span]:
        here = trace.get_current_span().get_span_context()
        links = [Link(here)] if linked and here.is_valid else []
        # A root's context is empty: what goes on here, of another trace, is no parent.
        context = trace.set_span_in_context(NonRecordingSpan(_remote(parent))) if parent else Context()
        with self._tracer.start_as_current_span(
            name, context=context, kind=KINDS[kind], attributes=dict(attributes), links=links
        ) as span:
            yield _Recorded(span)

    def say(self, attributes: Mapping[str, Value]) -> None:
        trace.get_current_span().set_attributes(dict(attributes))


def tracer(environment: Mapping[str, str]) -> SdkTracer:
    """To the receiver that OTEL_EXPORTER_OTLP_* names. Raises Reject."""
    return SdkTracer(otlp.exporter(environment))


def _remote(parent: Parent) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(parent.trace, 16), int(parent.span, 16), is_remote=True, trace_flags=flags)


def _parent(context: SpanContext) -> Parent:
    return Parent(f"{context.trace_id:032x}", f"{context.span_id:016x}", context.trace_flags.sampled)
