"""CloudEvents 1.0 on HTTP, sans-IO: headers and body in, attributes and data out, and back.

The broker keeps events as they came, so this codec never touches `data`; it only tells binary from
structured mode (HTTP protocol binding §3), checks the context attributes (spec §"Context Attributes"), and
reports every fault at once. Typed messages are one room further, in `codec.py`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote

import orjson

from .errors import Fault, Reject, shown

REQUIRED = ("id", "source", "specversion", "type")
OPTIONAL = ("subject", "dataschema", "datacontenttype")
STRUCTURED = "application/cloudevents+json"
_HEADERS = {f"ce-{name}".encode(): name for name in (*REQUIRED, "subject", "time", "correlationid", "hops")}
_NAME = re.compile(r"[a-z0-9]+")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_HEADER_NAMES = frozenset({*_HEADERS.values(), *OPTIONAL})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Printable ASCII without space, double quote and percent travels as it is (HTTP binding §3.1.3.2).
_SAFE = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"%')
_PLAIN = re.compile(r"[!#$&-~]*")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")
MAX_ATTRIBUTES = 64 * 1024
"""Characters of all attributes together: they travel as headers, and no HTTP server takes more of those."""


@dataclass(frozen=True, slots=True)
class WireEvent:
    """One event as it travels: attributes in their canonical string form, and data untouched."""

    attributes: Mapping[str, str]
    data: bytes | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells duplicates: KServe's request and response share id and source, so the type counts."""
        return self.attributes["source"], self.attributes["id"], self.attributes["type"]


def decode(headers: Iterable[tuple[str, str]], body: bytes) -> WireEvent:
    """Read one event from an HTTP message, binary or structured.

    Raises Reject with every fault: field, value and mend.
    """
    attributes: dict[str, str] = {}
    content_type = ""
    for name, value in headers:
        name = name.lower()
        if name.startswith("ce-"):
            attributes[name[3:]] = unquote(value) if "%" in value else value
        elif name == "content-type":
            content_type = value
    return _event(attributes, content_type, body)


def decode_raw(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> WireEvent:
    """As `decode`, from headers as ASGI has them, names in lower case: the broker's hot path."""
    attributes: dict[str, str] = {}
    content_type = ""
    for name, value in headers:
        known = _HEADERS.get(name)
        if known is not None:
            text = value.decode("latin-1")
            attributes[known] = unquote(text) if "%" in text else text
        elif name == b"content-type":
            content_type = value.decode("latin-1")
        elif name.startswith(b"ce-"):
            attributes[name[3:].decode("latin-1")] = unquote(value.decode("latin-1"))
    return _event(attributes, content_type, body)


def _event(attributes: dict[str, str], content_type: str, body: bytes) -> WireEvent:
    if content_type[:23].lower() == "application/cloudevents":
        event = _structured(content_type, body)
    else:
        event = _binary(attributes, content_type, body)
    check(event)
    return event


def check(event: WireEvent) -> None:
    """Raises Reject with every fault of the attributes: field, value and mend."""
    if not _is_plain(event.attributes) and (faults := list(_faults(event.attributes))):
        raise Reject(faults)


def encode(event: WireEvent) -> tuple[list[tuple[str, str]], bytes]:
    """Write one event in binary mode: `ce-` headers, and the data as the body."""
    headers = [
        ("content-type" if name == "datacontenttype" else f"ce-{name}", _header(name, value))
        for name, value in event.attributes.items()
    ]
    return headers, event.data or b""


def encode_structured(event: WireEvent) -> bytes:
    """Write one event in the JSON event format; data that is no JSON travels as `data_base64`."""
    document: dict[str, Any] = dict(event.attributes)
    if event.data is not None:
        # Data that only claims to be JSON would break the whole document.
        if _is_json(event.attributes.get("datacontenttype", "application/json")) and _parses(event.data):
            document["data"] = orjson.Fragment(event.data)
        else:
            document["data_base64"] = base64.b64encode(event.data).decode()
    return orjson.dumps(document)


def _parses(data: bytes) -> bool:
    try:
        # A JSON null would be read back as an event without data.
        return orjson.loads(data) is not None
    except orjson.JSONDecodeError:
        return False


def _header(name: str, value: str) -> str:
    return value if name == "datacontenttype" or _PLAIN.fullmatch(value) else quote(value, safe=_SAFE)


def _is_json(content_type: str) -> bool:
    media = content_type.partition(";")[0].strip().lower()
    return media.endswith(("/json", "+json"))


def _binary(attributes: dict[str, str], content_type: str, body: bytes) -> WireEvent:
    if not attributes:
        mend = "send ce-id, ce-source, ce-specversion and ce-type headers, or Content-Type " + STRUCTURED
        raise Reject(Fault("content-type", shown(content_type), f"this is no CloudEvent; {mend}"))
    if content_type:
        attributes["datacontenttype"] = content_type
    return WireEvent(attributes, body or None)


def _structured(content_type: str, body: bytes) -> WireEvent:
    media = content_type.partition(";")[0].strip().lower()
    if media != STRUCTURED:
        raise Reject(Fault("content-type", shown(content_type), f"send binary mode or {STRUCTURED}"))
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Reject(Fault("body", shown(body[:60]), f"is no JSON ({error}); send one JSON object")) from None
    if not isinstance(document, dict):
        raise Reject(Fault("body", shown(document), "send one JSON object with the event's attributes"))
    return from_document(document)


def from_document(document: dict[str, Any]) -> WireEvent:
    """Read one event of the JSON event format that is already parsed. Attributes are not checked here."""
    data = _data(document)
    attributes = {
        name: _canonical(name, value)
        for name, value in document.items()
        if name not in ("data", "data_base64") and value is not None
    }
    return WireEvent(attributes, data)


def _data(document: dict[str, Any]) -> bytes | None:
    if "data_base64" in document:
        try:
            return base64.b64decode(document["data_base64"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            value = shown(document["data_base64"])
            raise Reject(Fault("data_base64", value, "send base64 text (RFC 4648)")) from None
    if "data" not in document or document["data"] is None:
        return None
    data = document["data"]
    if isinstance(data, str) and not _is_json(str(document.get("datacontenttype") or "application/json")):
        return data.encode()
    try:
        return orjson.dumps(data)
    except TypeError:  # it reads deeper nesting than it writes
        raise Reject(Fault("data", "nested too deep", "nest at most 250 levels")) from None


def _canonical(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        return str(value)
    raise Reject(Fault(name, shown(value), "attributes are strings, integers or booleans; move it into data"))


def _is_plain(attributes: Mapping[str, str]) -> bool:
    """Whether nothing at all can be wrong, told with few steps: every event of the loop passes here."""
    try:
        whole = attributes["id"] and attributes["source"] and attributes["type"]
        plain = whole and attributes["specversion"] == "1.0"
        text = "".join(attributes.values())
    except (KeyError, TypeError):
        return False
    return bool(
        plain
        and "" not in attributes.values()
        and (
            _HEADER_NAMES.issuperset(attributes)
            or ("" not in attributes and _NAME.fullmatch("".join(attributes)))
        )
        and len(text) <= MAX_ATTRIBUTES
        and _PRINTABLE.fullmatch(text)
        and ("time" not in attributes or _is_time(attributes["time"]))
    )


def _faults(attributes: Mapping[str, str]) -> Iterable[Fault]:
    for name in REQUIRED:
        if not attributes.get(name):
            yield Fault(name, "missing", f"every CloudEvent carries a non-empty {name}")
    for name in OPTIONAL:
        if attributes.get(name) == "":
            yield Fault(name, "empty", "leave it out, or write something")
    yield from _spelling(attributes)
    if attributes.get("specversion") not in (None, "", "1.0"):
        yield Fault("specversion", shown(attributes["specversion"]), "send specversion 1.0")
    if not _PRINTABLE.fullmatch(media := attributes.get("datacontenttype", "")):
        yield Fault("datacontenttype", shown(media), "write a media type in ASCII, such as application/json")
    if (size := sum(map(len, attributes.values()))) > MAX_ATTRIBUTES:
        yield Fault("attributes", f"{size} characters", f"at most {MAX_ATTRIBUTES}; move it into data")
    if "time" in attributes and not _is_time(attributes["time"]):
        yield Fault("time", shown(attributes["time"]), "write RFC 3339, such as 2026-11-23T15:04:05Z")


def _spelling(attributes: Mapping[str, str]) -> Iterable[Fault]:
    for name, value in attributes.items():
        if not _NAME.fullmatch(name):
            where = name or "an attribute without a name"
            yield Fault(where, shown(value), "attribute names are lower-case letters and digits only")
        elif _CONTROL.search(value):
            yield Fault(name, shown(value), "control characters are not allowed in attributes")


def _is_time(text: str) -> bool:
    if not _TIME.fullmatch(text):
        return False
    try:
        # Python's own parser stops at six fractional digits; the calendar is what is left to check.
        datetime.fromisoformat(text[:19].upper())
    except ValueError:
        return False
    return True
