"""The last events that concern a Detector, kept in its own status: what `homeostat why` tells a chain from
where no broker keeps a log.

Bounded, for an object has to fit into etcd: so many events, of each only what is small. What leads to the
revisions that serve, served last or are on trial stays longest, and to the work in flight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from homeostat.eventing.messages import (
    AnomalyDetected,
    CanaryTick,
    EvalPassed,
    ExperimentAdded,
    ExperimentChanged,
    InferenceRequest,
    InferenceResponse,
    KafkaRecord,
    ModelPromoted,
    SamplesReceived,
)
from homeostat.eventing.wire import WireEvent

from ..outcome import Outcome
from ..trouble import rfc3339

FIELD = "history"
"""The status's field."""

KEPT = 100
DATA = 1024
"""Bytes of an event's data."""

TEXT = 256
"""Characters of a text in them, and of an attribute."""

SCHEMA: Mapping[str, Any] = {
    "type": "array",
    "description": "The last events that concern the Detector, oldest first, with the small ones of their"
    " facts (JSON).",
    "maxItems": KEPT,
    "items": {
        "type": "object",
        "required": ["id", "type", "source"],
        "properties": {
            **{name: {"type": "string", "maxLength": TEXT} for name in ("id", "type", "source")},
            **{name: {"type": "string", "maxLength": TEXT} for name in ("time", "causationid")},
            "data": {"type": "string", "maxLength": DATA},
        },
    },
}
"""What the CRD's status has to know of it."""

_OBSERVED = frozenset(
    one.type
    for one in (
        CanaryTick,
        ExperimentAdded,
        ExperimentChanged,
        InferenceRequest,
        InferenceResponse,
        KafkaRecord,
        SamplesReceived,
    )
)
"""Too many to keep, unless one of them is cited; their data are somebody's rows, or a whole object."""

_ASIDE = frozenset((AnomalyDetected.type,))
"""What a model says of the plant, at the pace of its streams: no step of the model's own life."""

_WITHOUT_CAUSE = frozenset((FIELD, "batches", "claims", "conditions", "data"))
"""Parts of a status that cite nothing, and are large."""

Entry = Mapping[str, Any]


def of(outcome: Outcome) -> Iterator[WireEvent]:
    """What a decision adds: the event that it was taken on, and those that it emits."""
    woke, emitted = outcome.woke, [one for one in outcome.events if one.attributes["type"] not in _ASIDE]
    if woke:
        cited = any(one.attributes.get("causationid") == woke.attributes["id"] for one in emitted)
        if cited or woke.attributes["type"] not in _OBSERVED:
            yield woke
    yield from emitted


def added(status: Mapping[str, Any], events: Iterable[WireEvent], now: datetime) -> list[Entry]:
    """The status's history with these events, each once, as far as there is room."""
    found = list(status.get(FIELD) or ())
    known = {one["id"] for one in found}
    for event in events:
        entry = _entry(event, now)
        if entry and entry["id"] not in known:
            known.add(entry["id"])
            found.append(entry)
    return shortened(found, status, KEPT)


def shortened(entries: Sequence[Entry], status: Mapping[str, Any], room: int) -> list[Entry]:
    """The last so many of them; those that nothing in the status goes back to are the first to go."""
    excess = len(entries) - room
    if excess <= 0:
        return list(entries)
    pinned = _pinned(entries, status)
    oldest = sorted(range(len(entries)), key=lambda place: (entries[place]["id"] in pinned, place))
    gone = set(oldest[:excess])
    return [one for place, one in enumerate(entries) if place not in gone]


def events(document: Mapping[str, Any]) -> list[WireEvent]:
    """A Detector's history as events, oldest first, for `infra.chain`."""
    subject = str(document["metadata"]["name"])
    return [
        WireEvent(
            {"specversion": "1.0", "subject": subject}
            | {name: str(value) for name, value in one.items() if name != "data"},
            str(one["data"]).encode() if one.get("data") else None,
        )
        for one in (document.get("status") or {}).get(FIELD) or ()
    ]


def _entry(event: WireEvent, now: datetime) -> Entry | None:
    """None for one whose attributes are too long to be kept: somebody else's, the loop's own never are."""
    attributes = {"time": rfc3339(now), **event.attributes}
    kept = ("id", "type", "source", "time", "causationid")
    entry = {name: attributes[name] for name in kept if name in attributes}
    if any(len(one) > TEXT for one in entry.values()):
        return None
    data = "" if entry["type"] in _OBSERVED else _small(event.data)
    return {**entry, "data": data} if data else entry


def _small(data: bytes | None) -> str:
    """The data's fields, the smallest first, as many as there is room for."""
    try:
        found = orjson.loads(data or b"{}")
    except orjson.JSONDecodeError:
        return ""
    fields = found if isinstance(found, dict) else {}
    written = {
        name: orjson.dumps(one[:TEXT] if isinstance(one, str) else one) for name, one in fields.items()
    }
    small: dict[str, orjson.Fragment] = {}
    for name in sorted(written, key=lambda one: len(written[one])):
        more = {**small, name: orjson.Fragment(written[name])}
        if len(orjson.dumps(more)) > DATA:
            break
        small = more
    return orjson.dumps(small).decode() if small else ""


def _pinned(entries: Sequence[Entry], status: Mapping[str, Any]) -> set[str]:
    """The events that lead to what the status holds: the last promotion of each revision, the verdict that is
    waited on, all that something there cites, and the causes of them all."""
    revisions = {(status.get(name) or {}).get("name") for name in ("serving", "previous")} - {None}
    judged = (status.get("judging") or {}).get("run")
    by_id = {one["id"]: one for one in entries}
    roots = {_named(one, "revision"): one["id"] for one in entries if one["type"] == ModelPromoted.type}
    leads = [identity for name, identity in roots.items() if name in revisions]
    verdicts = [one for one in entries if one["type"] == EvalPassed.type] if judged else []
    leads += [one["id"] for one in verdicts if _named(one, "run") == judged]
    leads += _cited(status)
    pinned: set[str] = set()
    while leads:
        at = by_id.get(leads.pop())
        if at and at["id"] not in pinned:
            pinned.add(at["id"])
            leads += [at["causationid"]] if "causationid" in at else []
    return pinned


def _named(entry: Entry, field: str) -> str | None:
    try:
        data = orjson.loads(entry.get("data") or b"{}")
    except orjson.JSONDecodeError:  # not our writing
        return None
    return data.get(field) if isinstance(data, dict) else None


def _cited(node: Any) -> list[str]:
    """The ids of all causes that the status remembers: of a run, a search, a canary, a wish, a question."""
    if isinstance(node, list):
        return [one for inner in node for one in _cited(inner)]
    if not isinstance(node, Mapping):
        return []
    cause = node.get("cause")
    own = [str(cause.get("id"))] if isinstance(cause, Mapping) else []
    return own + [one for name, inner in node.items() if name not in _WITHOUT_CAUSE for one in _cited(inner)]
