"""Kafka records as Knative's KafkaSource makes events of them.

Read in knative-extensions/eventing-kafka-broker: `InvalidCloudEventInterceptor`, `KeyDeserializer` and
`CloudEventOverridesMutator`. A record that is a CloudEvent stays one; of any other, the value is the data of
a `dev.knative.kafka.event`. Nothing is lost: what no attribute can carry is left out of the attributes, never
of the data, and the event's id says where the record lies.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ..errors import Reject
from ..kafka_binding import CONTENT_TYPE, decode
from ..wire import WireEvent, check
from .sources import KafkaFeed

TYPE = "dev.knative.kafka.event"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MEDIA = re.compile(r"[\x20-\x7e]+")
_OTHERS = re.compile(r"[^a-z0-9]")


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka record. `timestamp` is in milliseconds of Unix time, None where it has none."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None = None
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


def event_of(record: Record, feed: KafkaFeed) -> tuple[WireEvent, str]:
    """The event, and how it became one: `event` (it was one), `wrapped`, `malformed` (it claimed to be one,
    and was wrapped) or `cut` (its headers and key were more than attributes may be)."""
    how = "wrapped"
    try:
        # As Knative has it, the key of a record that is an event already is not looked at.
        if (event := decode(record.headers, None, record.value)) is not None:
            return _finished(event, record, feed), "event"
    except Reject:
        how = "malformed"
    core, more = _core(record, feed), _headers(record) | _key(record, feed)
    try:
        return _finished(WireEvent(core | more, record.value), record, feed), how
    except Reject:
        return _finished(WireEvent(core, record.value), record, feed), "cut"


def _finished(event: WireEvent, record: Record, feed: KafkaFeed) -> WireEvent:
    """With what Knative's dispatcher sets on every event. Raises Reject for what cannot be an event."""
    place = {"knativekafkapartition": str(record.partition), "knativekafkaoffset": str(record.offset)}
    finished = WireEvent({**event.attributes, **place, **feed.extensions}, event.data)
    check(finished)
    return finished


def _core(record: Record, feed: KafkaFeed) -> dict[str, str]:
    source = f"/apis/v1/namespaces/{feed.namespace}/kafkasources/{feed.name}#{record.topic}"
    return {
        "specversion": "1.0",
        "id": f"partition:{record.partition}/offset:{record.offset}",
        "source": source,
        "type": TYPE,
        "subject": f"partition:{record.partition}#{record.offset}",
        **_time(record.timestamp),
        **_media(record),
    }


def _time(timestamp: int | None) -> dict[str, str]:
    if timestamp is None:
        return {}
    seconds, thousandths = divmod(timestamp, 1000)
    try:
        moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=thousandths * 1000)
    except (ValueError, OverflowError, OSError):
        return {}  # a producer may write any number there
    return {"time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")}


def _media(record: Record) -> dict[str, str]:
    raw = next((value for name, value in reversed(record.headers) if name.lower() == CONTENT_TYPE), None)
    media = _text(raw or b"").lower()
    # Over HTTP this type would make the data look like the event itself; Knative passes it on and is misread.
    if media.startswith("application/cloudevents"):
        media = "application/octet-stream"
    return {"datacontenttype": media} if _MEDIA.fullmatch(media) and len(media) < 256 else {}


def _headers(record: Record) -> dict[str, str]:
    return {
        "kafkaheader" + _OTHERS.sub("", name.lower()): _text(value)
        for name, value in record.headers
        if value is not None and name.lower() != CONTENT_TYPE
    }


def _key(record: Record, feed: KafkaFeed) -> dict[str, str]:
    """An empty key is none. Numbers are big-endian, as Kafka's own serializers write them."""
    if not record.key:
        return {}
    text = _KEYS[feed.key_type](record.key)
    return {"partitionkey": text, "key": text}


def _text(raw: bytes) -> str:
    return _CONTROL.sub("\ufffd", raw.decode(errors="replace"))


def _integer(raw: bytes) -> str:
    return str(struct.unpack(">i", raw)[0]) if len(raw) == 4 else _text(raw)


def _real(raw: bytes) -> str:
    if len(raw) == 8:
        return str(struct.unpack(">d", raw)[0])
    return _single(raw) if len(raw) == 4 else _text(raw)


def _single(raw: bytes) -> str:
    """The shortest decimal that is this number in single precision: 0.1, not 0.10000000149011612."""
    value: float = struct.unpack(">f", raw)[0]
    texts = (f"{value:.{digits}g}" for digits in range(1, 10))
    return str(float(next((text for text in texts if _same(text, raw)), str(value))))


def _same(text: str, raw: bytes) -> bool:
    try:
        return struct.pack(">f", float(text)) == raw
    except OverflowError:
        return False  # rounded up, beyond what single precision holds


_KEYS: Mapping[str, Callable[[bytes], str]] = {
    "string": _text,
    "int": _integer,
    "float": _real,
    "byte-array": lambda raw: base64.b64encode(raw).decode(),
}
