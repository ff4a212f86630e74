"""CloudEvents' batched mode (HTTP binding §3.3, JSON format §4), beside the two modes of `wire.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from .errors import Fault, Reject, shown
from .wire import WireEvent, check, decode, encode_structured, from_document

BATCHED = "application/cloudevents-batch+json"
MAX_FAULTS = 100
"""Faults after which a batch is read no further: a megabyte of rubbish must not cost seconds."""


def decode_all(headers: Sequence[tuple[str, str]], body: bytes) -> list[WireEvent]:
    """Read the events of an HTTP message: one in binary or structured mode, any number in batched mode.

    A batch is taken whole or not at all, for the binding knows no answer for a part of one; no event is fine.
    Raises Reject with every fault, each of a batch by its place, such as `batch[2].source`.
    """
    try:
        return [decode(headers, body)]
    except Reject:
        # Asked only now, for nearly every message is no batch; of one, decode() reads just this header.
        content_type = {name.lower(): value for name, value in headers}.get("content-type", "")
        # A prefix, in any case of letters: so the binding tells the modes apart (§3).
        if not content_type.lower().startswith("application/cloudevents-batch"):
            raise
    return _batch(_documents(content_type, body))


def encode_batch(events: Iterable[WireEvent]) -> bytes:
    """Write events in the JSON batch format; send it as BATCHED, and only to who asked for batches."""
    return b"[" + b",".join(map(encode_structured, events)) + b"]"


def _documents(content_type: str, body: bytes) -> list[Any]:
    if content_type.partition(";")[0].strip().lower() != BATCHED:
        raise Reject(Fault("content-type", shown(content_type), f"batches are read as {BATCHED}"))
    try:
        documents = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        value = shown(body[:60])
        raise Reject(Fault("body", value, f"is no JSON ({error}); send an array of events")) from None
    if not isinstance(documents, list):
        raise Reject(Fault("body", shown(body[:60]), "send a JSON array of events"))
    return documents


def _batch(documents: Sequence[Any]) -> list[WireEvent]:
    events: list[WireEvent] = []
    faults: list[Fault] = []
    for place, document in enumerate(documents):
        try:
            events.append(_event(document))
        except Reject as rejected:
            faults += (_placed(place, fault) for fault in rejected.faults)
        if len(faults) >= MAX_FAULTS:
            faults.append(
                Fault("batch", f"{len(documents) - place - 1} events not looked at", "mend these first")
            )
            break
    if faults:
        raise Reject(faults)
    return events


def _event(document: Any) -> WireEvent:
    if not isinstance(document, dict):
        value = "an array" if isinstance(document, list) else shown(document)
        raise Reject(Fault("", value, "send one JSON object per event"))
    event = from_document(document)
    check(event)
    return event


def _placed(place: int, fault: Fault) -> Fault:
    field = f"batch[{place}].{fault.field}" if fault.field else f"batch[{place}]"
    return Fault(field, fault.value, fault.mend)
