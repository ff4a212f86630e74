"""A Detector's status as the custom resource holds it: what decisions see, and beside it what only people and
Kubernetes read (phase, last drift, conditions, the observed generation)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from homeostat.eventing.messages import DriftDetected
from homeostat.functions.detector import Status

from ..outcome import Outcome


def read(document: Mapping[str, Any]) -> Status:
    """What decisions see of it. Raises ValidationError when somebody else has written it."""
    found = document.get("status") or {}
    return Status.model_validate({key: value for key, value in found.items() if key in Status.model_fields})


def written(status: Status, document: Mapping[str, Any], outcome: Outcome) -> dict[str, Any]:
    """The status to store over the one that the document has."""
    old, now = document.get("status") or {}, outcome.detector.now
    drifted = any(one.attributes["type"] == DriftDetected.type for one in outcome.events)
    return {
        **old,
        **status.model_dump(mode="json"),
        "phase": status.phase,
        "last_drift": _time(now) if drifted else old.get("last_drift"),
        "observedGeneration": document["metadata"].get("generation", 0),
        "conditions": _with(_ready(status, document, now), old.get("conditions", ())),
    }


def _ready(status: Status, document: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """`Ready` while a model serves, whatever else goes on."""
    return {
        "type": "Ready",
        "status": "True" if status.serving else "False",
        "reason": status.phase,
        "message": status.message[:32768],
        "lastTransitionTime": _time(now),
        "observedGeneration": document["metadata"].get("generation", 0),
    }


def _with(condition: dict[str, Any], others: Any) -> list[dict[str, Any]]:
    """The condition among the others, in its old one's place; its time is that of the last change of
    status."""
    found = [dict(one) for one in others]
    for place, one in enumerate(found):
        if one["type"] == condition["type"]:
            if one["status"] == condition["status"]:
                condition["lastTransitionTime"] = one["lastTransitionTime"]
            found[place] = condition
            return found
    return [*found, condition]


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
