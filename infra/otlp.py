"""Spans as OTLP over HTTP, protobuf: what a collector, Jaeger or Tempo takes at port 4318.

The variables are the specification's: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import gzip
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2 as wire
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanContext

from homeostat.eventing.doors.calling import trust_also
from homeostat.eventing.errors import Fault, Reject, shown

log = logging.getLogger(__name__)

AGAIN = (429, 502, 503, 504)
"""Answers that ask to come again (OTLP/HTTP, Failures)."""
TRIES, PAUSE = 3, 1.0


class HttpExporter(SpanExporter):
    """Called on the SDK's own thread."""

    def __init__(self, url: str, client: httpx.Client, *, compress: bool = False) -> None:
        self._url, self._client, self._compress = url, client, compress

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        body, headers = encoded(spans), {"content-type": "application/x-protobuf"}
        if self._compress:
            body, headers = gzip.compress(body), {**headers, "content-encoding": "gzip"}
        said = self._post(body, headers)
        if said:
            log.warning("%d spans were not taken by %s: %s", len(spans), self._url, said)
        return SpanExportResult.FAILURE if said else SpanExportResult.SUCCESS

    def _post(self, body: bytes, headers: Mapping[str, str]) -> str:
        """Empty once they are taken; otherwise why not."""
        said = ""
        for attempt in range(TRIES):
            try:
                answer = self._client.post(self._url, content=body, headers=headers)
            except httpx.TransportError as error:
                said = f"no answer: {error}"
            else:
                if answer.is_success:
                    return ""
                said = f"answered {answer.status_code}"
                if answer.status_code not in AGAIN:
                    return said
            if attempt < TRIES - 1:
                time.sleep(PAUSE * 2**attempt)
        return said

    def shutdown(self) -> None:
        self._client.close()


def exporter(environment: Mapping[str, str]) -> HttpExporter:
    """As OTEL_EXPORTER_OTLP_* say; what speaks of traces comes first. Raises Reject with every fault."""

    def said(name: str, default: str = "") -> str:
        general = environment.get(f"OTEL_EXPORTER_OTLP_{name}") or default
        return environment.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or general

    faults = []
    protocol, timeout = said("PROTOCOL", "http/protobuf"), said("TIMEOUT", "10")
    if protocol != "http/protobuf":
        mend = "only http/protobuf is spoken here: give the receiver's port for it, 4318 as a rule"
        faults.append(Fault("OTEL_EXPORTER_OTLP_PROTOCOL", shown(protocol), mend))
    if not timeout.replace(".", "", 1).isdecimal():
        faults.append(Fault("OTEL_EXPORTER_OTLP_TIMEOUT", shown(timeout), "give seconds, such as 10"))
    own = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    url = own or f"{environment.get('OTEL_EXPORTER_OTLP_ENDPOINT', '').rstrip('/')}/v1/traces"
    if not url.startswith(("http://", "https://")):
        faults.append(Fault("OTEL_EXPORTER_OTLP_ENDPOINT", shown(url), "begin with http:// or https://"))
    if faults:
        raise Reject(faults)
    certificate = said("CERTIFICATE")
    client = httpx.Client(
        headers=dict(_pairs(said("HEADERS"))),
        timeout=float(timeout),
        verify=trust_also(Path(certificate).read_text() if certificate else ""),
    )
    return HttpExporter(url, client, compress=said("COMPRESSION") == "gzip")


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """W3C Baggage's spelling: `key=value,other=percent%20encoded`."""
    for one in text.split(","):
        name, is_pair, value = one.partition("=")
        if is_pair:
            yield name.strip(), unquote(value.strip())


def encoded(spans: Sequence[ReadableSpan]) -> bytes:
    """An ExportTraceServiceRequest. All spans of a process have one resource."""
    request = ExportTraceServiceRequest()
    if not spans:
        return bytes(request.SerializeToString())
    resource = request.resource_spans.add()
    resource.resource.attributes.extend(_attributes(spans[0].resource.attributes))

    def scope(span: ReadableSpan) -> str:
        return span.instrumentation_scope.name if span.instrumentation_scope else ""

    for name, ours in groupby(sorted(spans, key=scope), scope):
        scoped = resource.scope_spans.add()
        scoped.scope.name = name
        scoped.spans.extend(map(_span, ours))
    return bytes(request.SerializeToString())


def _span(span: ReadableSpan) -> wire.Span:
    trace_id, span_id = _ids(span.context)
    return wire.Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=span.parent.span_id.to_bytes(8) if span.parent else b"",
        flags=int(span.context.trace_flags),
        name=span.name,
        # The SDK counts from 0, and 0 says "unspecified" here.
        kind=span.kind.value + 1,  # type: ignore[arg-type]
        start_time_unix_nano=span.start_time or 0,
        end_time_unix_nano=span.end_time or 0,
        attributes=_attributes(span.attributes),
        events=map(_event, span.events),
        links=map(_link, span.links),
        dropped_attributes_count=span.dropped_attributes,
        status=wire.Status(code=span.status.status_code.value, message=span.status.description or ""),  # type: ignore[arg-type]
    )


def _event(event: Event) -> wire.Span.Event:
    return wire.Span.Event(
        name=event.name, time_unix_nano=event.timestamp, attributes=_attributes(event.attributes)
    )


def _link(link: Link) -> wire.Span.Link:
    trace_id, span_id = _ids(link.context)
    return wire.Span.Link(trace_id=trace_id, span_id=span_id, attributes=_attributes(link.attributes))


def _ids(context: SpanContext) -> tuple[bytes, bytes]:
    return context.trace_id.to_bytes(16), context.span_id.to_bytes(8)


def _attributes(attributes: Mapping[str, Any] | None) -> list[KeyValue]:
    return [KeyValue(key=name, value=_value(one)) for name, one in (attributes or {}).items()]


def _value(value: Any) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case str():
            return AnyValue(string_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case bytes():
            return AnyValue(bytes_value=value)
        case _:
            return AnyValue(array_value=ArrayValue(values=map(_value, value)))
