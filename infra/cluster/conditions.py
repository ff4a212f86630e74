"""What holds of a Detector now, as Kubernetes writes it: conditions, at most one of each type.

| type       | True                       | False                                | Unknown |
|------------|----------------------------|--------------------------------------|---------|
| Ready      | a model serves             | none does yet                        |         |
| Trained    | RunCompleted               | RunFailed, RunVanished               | Running |
| Tuned      | ExperimentCompleted        | ExperimentFailed, ExperimentVanished | Running |
| RolledOut  | Promoted                   | RolledBack, NeverReady               | Canary  |
| CarriedOut | Recovered                  | a kind of trouble, such as Forbidden | Waiting |
| Reachable  | Recovered: it had not been |                                      |         |

A type is missing until there is something to say. Nothing here reads a clock or asks anybody.

https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import orjson

from homeostat.eventing.messages import (
    CanaryAdvanced,
    CanaryRolledBack,
    CanaryStarted,
    CanaryTick,
    ModelPromoted,
    TrainingCompleted,
    TrainingFailed,
    TuningCompleted,
    TuningFailed,
)
from homeostat.eventing.wire import WireEvent
from homeostat.functions.work import WORDS

from ..outcome import Outcome
from ..trouble import WAITING, Trouble, rfc3339

LONGEST = 2048
"""Characters of a message."""

Holds = Literal["True", "False", "Unknown"]
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Condition:
    type: str
    status: Holds
    reason: str
    message: str


_OF_WORK: Mapping[str, Condition] = {
    TrainingCompleted.type: Condition("Trained", "True", "RunCompleted", "{run}: {algorithm} {version}"),
    TrainingFailed.type: Condition("Trained", "False", "RunFailed", "{run}: {step} {error}"),
    TuningCompleted.type: Condition("Tuned", "True", "ExperimentCompleted", "{experiment}: {metric} {value}"),
    TuningFailed.type: Condition("Tuned", "False", "ExperimentFailed", "{experiment}: {error}"),
}
"""By the event's type, whose data fill the message in."""

_OWN: Mapping[str, Condition] = {
    **_OF_WORK,
    CanaryStarted.type: Condition("RolledOut", "Unknown", "Canary", "{revision} at {percent} %"),
    CanaryAdvanced.type: Condition("RolledOut", "Unknown", "Canary", "{revision} at {percent} %"),
    CanaryRolledBack.type: Condition("RolledOut", "False", "RolledBack", "{revision}: {reason}"),
    ModelPromoted.type: Condition("RolledOut", "True", "Promoted", "{revision} serves"),
}
"""Of events that the decision itself emits."""

_IN_FLIGHT: Mapping[str, tuple[str, str]] = {
    "run": ("Trained", "RunVanished"),
    "tuning": ("Tuned", "ExperimentVanished"),
}
"""By the status's field: the condition of such work, and the reason when it is gone without a word."""


def said(before: Document, after: Document, outcome: Outcome) -> Iterator[Condition]:
    """What a decision changes, the earlier first: its statuses as they are stored, and its events."""
    serves: Holds = "True" if after.get("serving") else "False"
    yield Condition("Ready", serves, str(after.get("phase") or "Waiting"), str(after.get("message") or ""))
    told = set()
    for template, data in _told(before, outcome):
        told.add(_work(data))
        yield replace(template, message=_filled(template.message, data))
    for field, (type_, vanished) in _IN_FLIGHT.items():
        old, new = before.get(field) or {}, after.get(field) or {}
        if old.get("name") == new.get("name"):
            continue
        if old and old["name"] not in told:
            yield Condition(type_, "False", vanished, f"{old['name']}: {after.get('message', '')}")
        if new:
            yield Condition(type_, "Unknown", "Running", f"{new['name']}: {new.get('reason', '')}")


def _told(before: Document, outcome: Outcome) -> Iterator[tuple[Condition, Document]]:
    woke = outcome.woke
    if woke and woke.attributes["type"] in _OF_WORK:
        data = _data(woke)
        # What comes late says nothing about the work that was begun after it.
        if _work(data) in [one["name"] for one in map(before.get, _IN_FLIGHT) if one]:
            yield _OF_WORK[woke.attributes["type"]], data
    for event in outcome.events:
        template = _OWN.get(event.attributes["type"])
        if template:
            data = _data(event)
            yield replace(template, reason=_reason(template, data, before, outcome)), data


def _work(data: Document) -> object:
    """The name of the run, or of the search, that an event speaks of."""
    return data.get("run") or data.get("experiment")


def _reason(template: Condition, data: Document, before: Document, outcome: Outcome) -> str:
    """Some failures have a name of their own."""
    found_out = outcome.function == "plan-retraining" and not str(data.get("error")).startswith(
        WORDS["failed"]
    )
    match template.reason:
        case "RunFailed" | "ExperimentFailed" as reason if found_out:  # nobody told us: it was looked for
            return reason.replace("Failed", "Vanished")
        case "RolledBack" if _was_never_ready(before, outcome.woke):
            return "NeverReady"
        case reason:
            return reason


def _was_never_ready(before: Document, woke: WireEvent | None) -> bool:
    """Whether the canary that a tick took back had not been seen ready since it was started: being ready
    begins a step of its own."""
    canary = before.get("canary") or {}
    by_tick = woke is not None and woke.attributes["type"] == CanaryTick.type
    return bool(canary) and by_tick and canary.get("started") == canary.get("step_started")


def carried_out(troubles: Sequence[tuple[str, Trouble]]) -> Condition | None:
    """Of the decisions that are still hindered, by function; None without any."""
    for function, one in sorted(troubles, key=lambda pair: pair[1].kind == WAITING):
        status: Holds = "Unknown" if one.kind == WAITING else "False"
        others = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
        text = f"{function}: {one.reason}, since {rfc3339(one.since)}{others}"
        return Condition("CarriedOut", status, one.kind, text)
    return None


def recovered(type_: str, trouble: Trouble, now: datetime) -> Condition:
    """It is over."""
    text = f"{trouble.reason}, from {rfc3339(trouble.since)} to {rfc3339(now)}"
    return Condition(type_, "True", "Recovered", text)


def updated(
    old: Iterable[Document], changes: Iterable[Condition], now: datetime, generation: int
) -> list[dict[str, Any]]:
    """The conditions to store: changed ones in their old place, others as they were. A condition's time is
    that of the last change of its status."""
    found = {str(one["type"]): dict(one) for one in old}
    before = {type_: one["status"] for type_, one in found.items()}
    times = {type_: one["lastTransitionTime"] for type_, one in found.items()}
    for one in changes:
        same = before.get(one.type) == one.status
        found[one.type] = {
            "type": one.type,
            "status": one.status,
            "reason": one.reason,
            "message": one.message[:LONGEST],
            "lastTransitionTime": times[one.type] if same else rfc3339(now),
            "observedGeneration": generation,
        }
    return list(found.values())


def _filled(template: str, data: Document) -> str:
    try:
        return " ".join(template.format_map(data).split())
    except (KeyError, ValueError, IndexError):
        return ""


def _data(event: WireEvent) -> dict[str, Any]:
    try:
        found = orjson.loads(event.data or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
