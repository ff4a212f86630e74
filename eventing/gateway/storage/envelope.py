"""CloudEvents that carry a store's notification: binary, structured or batched."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ... import wire
from ...errors import Fault, Reject, shown
from .fields import json_value

_BATCH = "application/cloudevents-batch+json"
_FORMAT = re.compile(r"application/cloudevents", re.I)


@dataclass(frozen=True, slots=True)
class Enveloped:
    """One event: its attributes, its data as parsed JSON, and the path that its faults start with."""

    attributes: Mapping[str, str]
    data: Any
    path: str


def is_cloudevent(headers: Mapping[str, str]) -> bool:
    return "ce-type" in headers or bool(_FORMAT.match(headers.get("content-type", "")))


def events(headers: Mapping[str, str], body: bytes) -> list[Enveloped]:
    """The events of one HTTP message. Raises Reject with every fault of their attributes and their JSON."""
    faults: list[Fault] = []
    found = []
    for path, one in _received(headers, body, faults):
        try:
            data = json_value(one.data, "data") if one.data else None
            found.append(Enveloped(one.attributes, data, path))
        except Reject as wrong:
            faults += _under(path, wrong)
    if faults:
        raise Reject(faults)
    return found


def _received(
    headers: Mapping[str, str], body: bytes, faults: list[Fault]
) -> Iterator[tuple[str, wire.WireEvent]]:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != _BATCH:
        yield "", wire.decode(_checked(headers), body)
        return
    documents = json_value(body)
    if not isinstance(documents, list):
        raise Reject(Fault("body", shown(documents), "a batch is a JSON array of events"))
    for place, document in enumerate(documents):
        path = f"[{place}]"
        if not isinstance(document, dict):
            faults.append(Fault(path, shown(document), "each event of a batch is one JSON object"))
            continue
        try:
            event = wire.from_document(document)
            wire.check(event)
        except Reject as wrong:
            faults += _under(path, wrong)
        else:
            yield path, event


def _checked(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Without a subject that breaks the HTTP binding: Ceph writes an object's key into ce-subject as raw
    UTF-8 (src/rgw/driver/rados/rgw_pubsub_push.cc), and the key stands in the data as well."""
    for name, value in headers.items():
        if name != "ce-subject" or (value.isascii() and value.isprintable()):
            yield name, value


def _under(path: str, wrong: Reject) -> list[Fault]:
    return [Fault(f"{path}.{one.field}".lstrip("."), one.value, one.mend) for one in wrong.faults]
