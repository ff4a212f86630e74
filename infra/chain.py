"""`homeostat why`: from the first cause to the revision that serves now, by causationid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from homeostat.eventing.messages import (
    AlertFired,
    AlertResolved,
    CanaryAdvanced,
    CanaryJudged,
    CanaryPaused,
    CanaryResumed,
    CanaryRolledBack,
    CanaryStarted,
    DataLanded,
    DriftDetected,
    EvalFailed,
    EvalPassed,
    Gate,
    ModelPromoted,
    RollbackRequested,
    RolloutRequested,
    TrainingCompleted,
    TrainingFailed,
    TrainingRequested,
    TuningRequested,
    WorkHindered,
    WorkResumed,
)
from homeostat.eventing.wire import WireEvent
from homeostat.functions.judge_candidate import tell as tell_gate


@dataclass(frozen=True, slots=True)
class Link:
    """One event of the chain. `beside` holds its other effects that lead no further, oldest first."""

    event: WireEvent
    beside: tuple[WireEvent, ...] = ()


class BrokenChain(Exception):
    """An event cites a cause that the log does not hold."""


def chain(events: Sequence[WireEvent], last: WireEvent) -> list[Link]:
    """The causes of `last`, the first one first. Raises BrokenChain naming what is missing."""
    # KServe's response shares its request's id; the request came first, and it is the cause.
    by_id = {event.attributes["id"]: event for event in reversed(events)}
    path = [last]
    while cause := path[-1].attributes.get("causationid"):
        if cause not in by_id:
            at = f"{path[-1].attributes['type']} {path[-1].attributes['id']}"
            raise BrokenChain(f"{at} cites {cause}, which the event log does not hold (any more)")
        if by_id[cause] in path:
            raise BrokenChain(f"{cause} is its own cause")
        path.append(by_id[cause])
    path.reverse()
    effects: dict[str, list[WireEvent]] = {}
    for event in events:
        effects.setdefault(event.attributes.get("causationid", ""), []).append(event)
    on_path = {event.attributes["id"] for event in path}
    return [
        Link(
            event,
            tuple(
                one for one in effects.get(event.attributes["id"], []) if one.attributes["id"] not in on_path
            ),
        )
        for event in path
    ]


def promotion(events: Sequence[WireEvent], detector: str, revision: str) -> WireEvent | None:
    """The latest promotion of `revision`. A rollback only gives back what a promotion had given."""

    def promotes(event: WireEvent) -> bool:
        who = (event.attributes["type"], event.attributes.get("subject"))
        return who == (ModelPromoted.type, detector) and _document(event).get("revision") == revision

    return next(filter(promotes, reversed(events)), None)


_TOLD: Mapping[str, str] = {
    DataLanded.type: "{uri}",
    AlertFired.type: "{alertname}, since {starts_at}",
    AlertResolved.type: "{alertname}, at {ends_at}",
    TrainingRequested.type: "{reason}",
    TuningRequested.type: "{reason}",
    DriftDetected.type: "{test} {statistic:.3g} over {threshold:.3g}, {consecutive} times running",
    TrainingCompleted.type: "{algorithm} {version} from {rows} rows",
    TrainingFailed.type: "{step}: {error}",
    EvalPassed.type: "{algorithm} {version}",
    EvalFailed.type: "{algorithm} {version}",
    CanaryStarted.type: "{revision} at {percent} %",
    CanaryAdvanced.type: "{revision} at {percent} %",
    CanaryJudged.type: "{revision} at {percent} %: {outcome}, {reason}",
    CanaryPaused.type: "{revision} at {percent} %",
    CanaryResumed.type: "{revision} at {percent} %",
    RolloutRequested.type: "{action}: {reason}",
    RollbackRequested.type: "{reason}",
    CanaryRolledBack.type: "{revision}: {reason}",
    ModelPromoted.type: "{revision} serves",
    WorkHindered.type: "{function}: {reason}",
    WorkResumed.type: "{function}, since {since}: {reason}",
}


def tell(event: WireEvent) -> str:
    """The event's data in one line for people; empty where it is not what its type promises."""
    template = _TOLD.get(event.attributes["type"])
    if template is None:
        return ""
    data = _document(event)
    try:
        told = template.format_map(data)
        gates = [tell_gate(Gate(**gate)) for gate in data.get("gates", [])]
    except (KeyError, ValueError, TypeError):
        return ""
    report = f", {data['report']}" if data.get("report") else ""
    return told + (f" ({', '.join(gates)})" if gates else "") + report


def _document(event: WireEvent) -> dict[str, Any]:
    """The data as an object, an empty one for what is none: the broker takes whatever it is sent."""
    try:
        data = orjson.loads(event.data or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return data if isinstance(data, dict) else {}
