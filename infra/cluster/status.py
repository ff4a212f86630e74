"""A Detector's status as the custom resource holds it: what decisions see, and beside it what only people and
Kubernetes read (phase, last drift, conditions, history, the observed generation)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from homeostat.eventing.messages import DriftDetected
from homeostat.eventing.wire import WireEvent
from homeostat.functions.detector import Status

from ..outcome import Outcome
from ..trouble import Trouble, rfc3339
from . import conditions, history


def read(document: Mapping[str, Any]) -> Status:
    """What decisions see of it. Raises ValidationError when somebody else has written it."""
    found = document.get("status") or {}
    return Status.model_validate({key: value for key, value in found.items() if key in Status.model_fields})


def written(status: Status, document: Mapping[str, Any], outcome: Outcome) -> dict[str, Any]:
    """The status to store over the one that the document has."""
    old, now = document.get("status") or {}, outcome.detector.now
    drifted = any(one.attributes["type"] == DriftDetected.type for one in outcome.events)
    new = {
        **old,
        **status.model_dump(mode="json"),
        "phase": status.phase,
        "last_drift": rfc3339(now) if drifted else old.get("last_drift"),
        "observedGeneration": _generation(document),
    }
    said = conditions.said(old, new, outcome)
    return {
        **new,
        "conditions": conditions.updated(old.get("conditions", ()), said, now, _generation(document)),
        history.FIELD: history.added(new, history.of(outcome), now),
    }


def told(
    document: Mapping[str, Any],
    left: Sequence[tuple[str, Trouble]],
    now: datetime,
    events: Sequence[WireEvent] = (),
    over: Trouble | None = None,
    missed: Trouble | None = None,
) -> dict[str, Any]:
    """The status with what is said of trouble: `left` are the decisions that are hindered still; one is not
    any more (`over`), nor are we kept from the Detector (`missed`)."""
    old = document.get("status") or {}
    said = [conditions.recovered("Reachable", missed, now)] if missed else []
    if hindered := conditions.carried_out(left):
        said.append(hindered)
    elif over:
        said.append(conditions.recovered("CarriedOut", over, now))
    return {
        **old,
        "conditions": conditions.updated(old.get("conditions", ()), said, now, _generation(document)),
        history.FIELD: history.added(old, events, now),
    }


def _generation(document: Mapping[str, Any]) -> int:
    return int(document["metadata"].get("generation", 0))
