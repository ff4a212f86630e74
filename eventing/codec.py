"""Typed messages to CloudEvents and back, sans-IO.

`parse` reads what a function wakes on; `announce` writes what it found out. Identity, causation and the hop
count are decided here and nowhere else, so that the same decision taken twice emits the same events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Protocol
from uuid import NAMESPACE_URL, uuid5

import orjson
from pydantic import TypeAdapter, ValidationError

from .errors import Fault, Reject, shown
from .messages import EVENTS, Event, ExperimentAdded, ExperimentChanged
from .wire import WireEvent

MAX_HOPS = 64
"""A chain longer than this is a loop: one drift-to-promotion episode takes fewer than ten hops."""

_DETECTOR = ("detector", "subject", "inferenceservicename")
"""The attributes that name the detector, the first of them that is there."""

LABEL = "homeostat.dev/detector"
"""By which an object of Kubernetes names its Detector: its event's subject is the object's own path."""

BY_TYPE: Mapping[str, type[Event]] = {event.type: event for event in EVENTS}


class Caused(Protocol):
    """What later events cite: the id, correlation, hop count and trace of an earlier one."""

    @property
    def id(self) -> str: ...
    @property
    def correlationid(self) -> str: ...
    @property
    def hops(self) -> int: ...
    @property
    def traceparent(self) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The attributes of a received event that decisions and later events need. `key` is a Kafka record's,
    `time` when it happened by its sender's clock (RFC 3339)."""

    id: str
    source: str
    type: str
    subject: str | None
    correlationid: str
    causationid: str | None = None
    hops: int = 0
    traceparent: str | None = None
    key: str | None = None
    time: str | None = None


def context(attributes: Mapping[str, str]) -> Context:
    """Read the context. An event without a correlation starts one of its own.

    A source whose subject is about something else names the detector in an extension: `detector` where its
    `ceOverrides` say so (a KafkaSource's subject is `partition:0#5`), `inferenceservicename` from KServe.

    Raises Reject when the hop count is no number or says that the chain has become a loop.
    """
    text = attributes.get("hops", "0")
    if not text.isdecimal() or len(text) > 4 or int(text) > MAX_HOPS:
        mend = f"events chain at most {MAX_HOPS} hops; find the loop with `homeostat why`"
        raise Reject(Fault("hops", shown(text), mend))
    return Context(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        subject=next((attributes[one] for one in _DETECTOR if attributes.get(one)), None),
        correlationid=attributes.get("correlationid") or attributes["id"],
        causationid=attributes.get("causationid"),
        hops=int(text),
        traceparent=attributes.get("traceparent"),
        time=attributes.get("time"),
        key=attributes.get("key") or attributes.get("partitionkey"),
    )


def parse(event: WireEvent) -> tuple[Event, Context]:
    """Read a typed message. Raises Reject with every fault of the data, by field."""
    where = context(event.attributes)
    kind = BY_TYPE.get(where.type)
    if kind is None:
        raise Reject(Fault("type", shown(where.type), f"send one of {', '.join(sorted(BY_TYPE))}"))
    try:
        data = orjson.loads(event.data) if event.data else {}
    except orjson.JSONDecodeError as error:
        value = shown((event.data or b"")[:60])
        raise Reject(Fault("data", value, f"is no JSON ({error}); send a JSON object")) from None
    found = message(kind, data)
    if isinstance(found, ExperimentAdded | ExperimentChanged):
        where = replace(where, subject=_labelled(found.experiment))
    return found, where


def _labelled(thing: Mapping[str, Any]) -> str | None:
    """The Detector that an object is labelled with; None for an object of somebody else's."""
    metadata = thing.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    name = labels.get(LABEL) if isinstance(labels, Mapping) else None
    return name if isinstance(name, str) and name else None


def message(kind: type[Event], data: object) -> Event:
    """Check data against the message's fields. Raises Reject with every fault, by field."""
    if not isinstance(data, dict):
        raise Reject(Fault("data", shown(data), f"send a JSON object with the fields of {kind.type}"))
    whole = _whole(kind)
    try:
        return _adapter(kind).validate_python({whole: data} if whole else data)
    except ValidationError as error:
        raise Reject(faults(error, "data")) from None


def _whole(kind: type[Event]) -> str | None:
    """The one field that holds all of the data, for a foreign event whose fields nobody knows beforehand."""
    return getattr(kind, "WHOLE", None)


def faults(error: ValidationError, root: str) -> list[Fault]:
    """Pydantic's findings in our words: the path, the value found there, the mend."""
    return [
        Fault(
            ".".join([root, *map(str, one["loc"])]),
            "missing" if one["type"] == "missing" else shown(one["input"]),
            one["msg"],
        )
        for one in error.errors(include_url=False)
    ]


def identity(cause: str, function: str, subject: str, place: int) -> str:
    """The id of the `place`-th event that `function` derives from the event `cause` for `subject`."""
    return str(uuid5(NAMESPACE_URL, f"{cause}/{function}/{subject}/{place}"))


def announce(event: Event, *, id: str, source: str, subject: str, cause: Caused, now: datetime) -> WireEvent:
    """Write a fact as a CloudEvent that cites its cause (CloudEvents' correlation extension)."""
    attributes = {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": event.type,
        "subject": subject,
        "time": now.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "correlationid": cause.correlationid,
        "causationid": cause.id,
        "hops": str(cause.hops + 1),
    }
    if cause.traceparent:
        attributes["traceparent"] = cause.traceparent
    return WireEvent(attributes, orjson.dumps(data(event)))


def data(event: Event) -> dict[str, Any]:
    """The event's JSON data. NaN and infinity become null: a figure that could not be measured."""
    fields: dict[str, Any] = orjson.loads(orjson.dumps(asdict(event), option=orjson.OPT_SERIALIZE_NUMPY))
    whole = _whole(type(event))
    return fields[whole] if whole else fields


_ADAPTERS: dict[str, TypeAdapter[Event]] = {}


def _adapter(kind: type[Event]) -> TypeAdapter[Event]:
    """Built when first asked for: building all of them would slow every function's start."""
    if kind.type not in _ADAPTERS:
        _ADAPTERS[kind.type] = TypeAdapter(kind)
    return _ADAPTERS[kind.type]


def schema(kind: type[Event]) -> dict[str, Any]:
    """The JSON schema of the event's data, as rendered into `eventing/schemas/`."""
    known = _adapter(kind).json_schema()
    if whole := _whole(kind):
        known = {**known["properties"][whole], "title": known["title"], "description": known["description"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{kind.type}.json",
        **known,
    }
