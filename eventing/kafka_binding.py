"""CloudEvents 1.0 on Kafka, sans-IO: a record's headers and value in, attributes and data out, and back.

Kafka protocol binding §3: in binary mode the attributes are `ce_` headers in plain UTF-8 (nothing is
percent-encoded, unlike on HTTP) and the value is the data; in structured mode the value is the event in JSON.
The record's key is the `partitionkey` extension (§3.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .errors import Fault, Reject, shown
from .wire import STRUCTURED, WireEvent, check
from .wire import decode as decode_http
from .wire import encode_structured as structured_document

PREFIX = "ce_"
CONTENT_TYPE = "content-type"
_MARK = "application/cloudevents"

Headers = Sequence[tuple[str, bytes | None]]
Record = tuple[list[tuple[str, bytes]], bytes | None, bytes | None]
"""Headers, key and value."""


def decode(headers: Headers | None, key: bytes | None, value: bytes | None) -> WireEvent | None:
    """Read one event from a record, binary or structured. None: the record does not claim to be a CloudEvent.

    A key becomes the event's `partitionkey` where it has none (CloudEvents' Python SDK writes it there only).
    Raises Reject with every fault of a record that does claim to be one.
    """
    event = _event(headers, value)
    if event is None or not key or "partitionkey" in event.attributes:
        return event
    try:
        keyed = WireEvent({**event.attributes, "partitionkey": key.decode()}, event.data)
        check(keyed)
    except (UnicodeDecodeError, Reject):
        return event  # a key that is no text is its producer's own affair
    return keyed


def _event(headers: Headers | None, value: bytes | None) -> WireEvent | None:
    # Of headers of one name the last counts, as for Kafka's own clients.
    named = dict(headers or ())
    content_type = (named.get(CONTENT_TYPE) or b"").decode("latin-1")
    if content_type.strip().lower().startswith(_MARK):
        return decode_http([(CONTENT_TYPE, content_type.strip())], value or b"")
    if PREFIX + "specversion" not in named:
        return None
    faults: list[Fault] = []
    attributes = dict(_attributes(named.items(), faults))
    if faults:
        raise Reject(faults)
    event = WireEvent(attributes, value)
    check(event)
    return event


def encode(event: WireEvent) -> Record:
    """Write one event in binary mode."""
    if event.attributes.get("datacontenttype", "").strip().lower().startswith(_MARK):
        # Data that is an event itself would be taken for this one.
        return encode_structured(event)
    headers = [
        (CONTENT_TYPE if name == "datacontenttype" else PREFIX + name, value.encode())
        for name, value in event.attributes.items()
    ]
    return headers, _key(event), event.data


def encode_structured(event: WireEvent) -> Record:
    """Write one event in structured mode, JSON format."""
    return [(CONTENT_TYPE, STRUCTURED.encode())], _key(event), structured_document(event)


def _key(event: WireEvent) -> bytes | None:
    key = event.attributes.get("partitionkey")
    return key.encode() if key else None


def _attributes(
    headers: Iterable[tuple[str, bytes | None]], faults: list[Fault]
) -> Iterable[tuple[str, str]]:
    for header, raw in headers:
        name = "datacontenttype" if header == CONTENT_TYPE else header.removeprefix(PREFIX)
        if not (header == CONTENT_TYPE or header.startswith(PREFIX)):
            continue
        try:
            yield name, (raw or b"").decode()
        except UnicodeDecodeError:
            faults.append(Fault(header, shown(raw), "write attributes in UTF-8"))
