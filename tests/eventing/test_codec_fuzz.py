"""A hundred thousand bad messages at the codecs: each is an event or refused with faults; nothing grows."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Sequence

import orjson
import pytest

from homeostat.eventing import codec, kafka_binding
from homeostat.eventing.batch import BATCHED, decode_all, encode_batch
from homeostat.eventing.errors import Fault, Reject
from homeostat.eventing.wire import STRUCTURED, WireEvent, check, decode_raw, encode, encode_structured

WARM = 5_000
GROWTH = 512 * 1024  # bytes between the warm and the last input

Message = tuple[Sequence[tuple[str, str]], bytes]

EVENT = WireEvent(
    {
        "id": "1",
        "source": "/plant",
        "type": "dev.homeostat.data.landed",
        "specversion": "1.0",
        "subject": "pump",
        "time": "2026-11-24T10:00:00Z",
        "datacontenttype": "application/json",
        "hops": "3",
    },
    b'{"uri": "s3://plant/pump/a.parquet", "etag": "e", "size": 5, "sequencer": "0A"}',
)
GOOD: Sequence[Message] = (
    encode(EVENT),
    ([("content-type", STRUCTURED)], encode_structured(EVENT)),
    ([("content-type", BATCHED)], encode_batch([EVENT, EVENT])),
)
ODD_TEXTS = (
    "",
    " ",
    "\0",
    "é" * 10,
    "%",
    "%zz",
    "%F0%9F",
    "x" * 70_000,
    "9" * 400,
    "1e999",
    "null",
    "\r\n",
    "-",
)
ODD_VALUES = (None, True, -1, 1e308, "", [], {}, [[[]]], {"a": {"b": [1]}}, "\ud7ff", 2**63, ["x"] * 50)


def bytes_changed(chance: random.Random, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(changed) + 1)
        kind = chance.randrange(3)
        if kind == 0:
            changed[place:place] = bytes(chance.choices(b'{}[]",:0e\x00\xff\\', k=chance.randint(1, 6)))
        elif kind == 1:
            del changed[place : place + chance.randint(1, 20)]
        elif place < len(changed):
            changed[place] = chance.randrange(256)
    return bytes(changed)


def values_changed(chance: random.Random, body: bytes) -> bytes:
    document = orjson.loads(body)
    part = chance.choice(document) if isinstance(document, list) else document
    if isinstance(part.get("data"), dict) and chance.random() < 0.5:
        part = part["data"]
    part[chance.choice([*part, "extra", "Über", "data_base64"])] = chance.choice(ODD_VALUES)
    return orjson.dumps(document)


def headers_changed(chance: random.Random, headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    changed = dict(headers)
    name = chance.choice([*changed, "ce-", "ce-Odd-Name", "ce-data", "content-type", "ce-specversion"])
    if chance.random() < 0.3:
        changed.pop(name, None)
    else:
        changed[name] = chance.choice(ODD_TEXTS)
    return list(changed.items())


def broken(chance: random.Random) -> Message:
    headers, body = chance.choice(GOOD)
    kind = chance.randrange(3)
    if kind == 0:
        return headers_changed(chance, headers), body
    return headers, (bytes_changed if kind == 1 else values_changed)(chance, body)


def over_http(headers: Sequence[tuple[str, str]], body: bytes) -> list[WireEvent]:
    return decode_all(headers, body)


def over_asgi(headers: Sequence[tuple[str, str]], body: bytes) -> list[WireEvent]:
    return [decode_raw([(name.lower().encode(), value.encode()) for name, value in headers], body)]


def over_kafka(headers: Sequence[tuple[str, str]], body: bytes) -> list[WireEvent]:
    named = [(name.replace("ce-", "ce_"), value.encode()) for name, value in headers]
    event = kafka_binding.decode(named, None, body)
    return [event] if event else []


Way = Callable[[Sequence[tuple[str, str]], bytes], list[WireEvent]]
WAYS: Sequence[Way] = (over_http, over_asgi, over_kafka)


def told(way: Way, headers: Sequence[tuple[str, str]], body: bytes) -> Sequence[Fault] | None:
    """The faults that it was refused with, None when it was taken."""
    try:
        for event in way(headers, body):
            check(event)
            codec.parse(event)
    except Reject as rejected:
        return rejected.faults
    return None


@pytest.mark.parametrize("inputs", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_each_of_them_is_an_event_or_refused_with_faults_and_memory_stays_flat(inputs: int) -> None:
    chance, before, refused = random.Random(4), 0, 0
    tracemalloc.start()
    try:
        for number in range(inputs):
            if number == WARM:
                before = tracemalloc.get_traced_memory()[0]
            faults = told(WAYS[number % len(WAYS)], *broken(chance))
            refused += faults is not None
            assert faults is None or all(fault.field and fault.mend for fault in faults)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert refused > inputs // 4
    assert grown < GROWTH, f"{grown} bytes more than after {WARM} inputs"
