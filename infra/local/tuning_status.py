"""The status of an Experiment, written as Katib's controller writes it.

https://github.com/kubeflow/katib/blob/master/pkg/controller.v1beta1/experiment/util/status_util.go
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from .tuning_experiment import Experiment, Objective
from .tuning_metrics import UNAVAILABLE
from .tuning_state import Trial

_LISTS: Mapping[str, tuple[str, str]] = {
    "Running": ("runningTrialList", "trialsRunning"),
    "Failed": ("failedTrialList", "trialsFailed"),
    "Succeeded": ("succeededTrialList", "trialsSucceeded"),
    "Killed": ("killedTrialList", "trialsKilled"),
    "EarlyStopped": ("earlyStoppedTrialList", "trialsEarlyStopped"),
    "MetricsUnavailable": ("metricsUnavailableTrialList", "trialMetricsUnavailable"),
}
"""By a trial's condition: the list of names, and its length."""

_MESSAGES = {
    "ExperimentCreated": "Experiment is created",
    "ExperimentRunning": "Experiment is running",
    "ExperimentGoalReached": "Experiment has succeeded because Objective goal has reached",
    "ExperimentMaxTrialsReached": "Experiment has succeeded because max trial count has reached",
    "ExperimentSuggestionEndReached": "Experiment has succeeded because suggestion service has reached"
    " the end",
    "ExperimentFailed": "Experiment has failed because max failed count has reached",
}


def created(document: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """The object that an API server and Katib make of a manifest."""
    now = timestamp()
    metadata = {
        **document["metadata"],
        "namespace": document["metadata"].get("namespace") or namespace,
        "uid": str(uuid4()),
        "creationTimestamp": now,
        "generation": 1,
        "resourceVersion": "1",
    }
    found = {**document, "metadata": metadata, "status": {"startTime": now, "conditions": []}}
    _set(found["status"], "Created", "True", "ExperimentCreated", _MESSAGES["ExperimentCreated"])
    return found


def state_of(document: Mapping[str, Any]) -> str:
    """running, succeeded or failed."""
    holds = {one["type"] for one in document["status"]["conditions"] if one["status"] == "True"}
    return "succeeded" if "Succeeded" in holds else "failed" if "Failed" in holds else "running"


def updated(
    document: Mapping[str, Any], what: Experiment, trials: Sequence[Trial], *, exhausted: bool = False
) -> dict[str, Any]:
    """The object after a look at its trials. `exhausted`: the search has nothing more to try. The same
    object where nothing has changed."""
    old = document["status"]
    status: dict[str, Any] = {
        "startTime": old["startTime"],
        "conditions": [dict(one) for one in old["conditions"]],
        **_summary(trials),
    }
    if best := best_of(trials, what.objective):
        status["currentOptimalTrial"] = {
            "bestTrialName": best.name,
            "parameterAssignments": [
                {"name": name, "value": text} for name, text in best.assignments.items()
            ],
            "observation": {"metrics": best.metrics},
        }
    kind, reason = _verdict(what, trials, best, exhausted)
    _conclude(status, kind, reason, _MESSAGES[reason])
    return with_status(document, status)


def failed(document: Mapping[str, Any], message: str) -> dict[str, Any]:
    """The object of a search that cannot go on."""
    status = {**document["status"], "conditions": [dict(one) for one in document["status"]["conditions"]]}
    _conclude(status, "Failed", "ExperimentFailed", message)
    return with_status(document, status)


def with_status(document: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    if status == document["status"]:
        return dict(document)
    version = str(int(document["metadata"]["resourceVersion"]) + 1)
    return {
        **document,
        "metadata": {**document["metadata"], "resourceVersion": version},
        "status": dict(status),
    }


def best_of(trials: Sequence[Trial], objective: Objective) -> Trial | None:
    """The first of the best, early stopped ones included, as Katib chooses."""
    best: Trial | None = None
    for one in trials:
        if one.value is None or one.condition not in ("Succeeded", "EarlyStopped"):
            continue
        if best is None or best.value is None or objective.better(one.value, best.value):
            best = one
    return best


def _summary(trials: Sequence[Trial]) -> dict[str, Any]:
    found: dict[str, Any] = {"trials": len(trials)} if trials else {}
    for condition, (names, count) in _LISTS.items():
        if those := [one.name for one in trials if one.condition == condition]:
            found |= {names: those, count: len(those)}
    return found


def _verdict(
    what: Experiment, trials: Sequence[Trial], best: Trial | None, exhausted: bool
) -> tuple[str, str]:
    """Type and reason of the condition that holds now, asked in Katib's order."""
    ended = [one for one in trials if one.finished]
    lost = sum(one.condition in ("Failed", "MetricsUnavailable") for one in ended)
    if best is not None and best.value is not None and what.objective.reached(best.value):
        return "Succeeded", "ExperimentGoalReached"
    if what.max_failed is not None and lost and lost >= what.max_failed:
        return "Failed", "ExperimentFailed"
    if what.max_trials is not None and len(ended) >= what.max_trials:
        return "Succeeded", "ExperimentMaxTrialsReached"
    if exhausted and len(ended) == len(trials):
        return "Succeeded", "ExperimentSuggestionEndReached"
    return "Running", "ExperimentRunning"


def _conclude(status: dict[str, Any], kind: str, reason: str, message: str) -> None:
    if kind != "Running":
        for one in status["conditions"]:
            if one["type"] == "Running" and one["status"] == "True":
                _set(status, "Running", "False", one["reason"], one["message"])
                break
        status["completionTime"] = timestamp()
    _set(status, kind, "True", reason, message)


def _set(status: dict[str, Any], kind: str, holds: str, reason: str, message: str) -> None:
    conditions = status["conditions"]
    now = timestamp()
    before = next((one for one in conditions if one["type"] == kind), None)
    if before and (before["status"], before["reason"]) == (holds, reason):
        return
    turned = before["lastTransitionTime"] if before and before["status"] == holds else now
    status["conditions"] = [one for one in conditions if one["type"] != kind] + [
        {
            "type": kind,
            "status": holds,
            "reason": reason,
            "message": message,
            "lastUpdateTime": now,
            "lastTransitionTime": turned,
        }
    ]


def timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unavailable(names: Sequence[str]) -> list[dict[str, str]]:
    """The observation of a trial that reported nothing."""
    return [dict.fromkeys(("min", "max", "latest"), UNAVAILABLE) | {"name": name} for name in names]
