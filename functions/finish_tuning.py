"""Read from a Katib Experiment how a search ended, and say so once.

Katib changes an Experiment with every trial, and may say of an old one that it changed: only the end of the
search that the status has in flight is news, and only the first time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from homeostat.eventing.messages import ExperimentAdded, ExperimentChanged, TuningCompleted, TuningFailed

from .detector import Detector, Message, Tuning

KIND = "Experiment"
_WHOLE = re.compile(r"[+-]?\d{1,18}")


def decide(event: ExperimentAdded | ExperimentChanged, detector: Detector) -> Iterable[Message]:
    tuning = detector.status.tuning
    found = event.experiment
    if found.get("kind") != KIND or tuning is None or tuning.ended:
        return
    if _part(found, "metadata").get("name") != tuning.name:
        return
    told = _told(tuning, found)
    if told is None:
        return
    yield detector.remember(
        tuning=tuning.model_copy(update={"ended": detector.now}), message=_message(told, tuning)
    )
    yield told


def _told(tuning: Tuning, found: Mapping[str, Any]) -> TuningCompleted | TuningFailed | None:
    """What is to be told of it; None while it goes on."""
    status = _part(found, "status")
    conditions = {
        str(one.get("type")): one
        for one in _items(status, "conditions")
        if str(one.get("status")).lower() == "true"
    }
    if failed := conditions.get("Failed"):
        said = (failed.get("reason"), failed.get("message"))
        error = ": ".join(str(one) for one in said if one) or "Katib gives no reason"
        return TuningFailed(experiment=tuning.name, error=error[:2000])
    if "Succeeded" not in conditions:
        return None
    best = _part(status, "currentOptimalTrial")
    parameters = {
        str(one.get("name")): _value(str(one.get("value")))
        for one in _items(best, "parameterAssignments")
        if one.get("name")
    }
    if not parameters:
        return TuningFailed(experiment=tuning.name, error="it ended without a trial that could be measured")
    metric = str(_part(_part(found, "spec"), "objective").get("objectiveMetricName", ""))
    return TuningCompleted(
        experiment=tuning.name,
        algorithm=tuning.algorithm,
        parameters=parameters,
        metric=metric,
        value=_measured(best, metric),
        trials=_count(status.get("trialsSucceeded")) + _count(status.get("trialsEarlyStopped")),
    )


def _measured(best: Mapping[str, Any], metric: str) -> float | None:
    """The best value of the metric, as Katib writes it: text, which may say that there is none."""
    for one in _items(_part(best, "observation"), "metrics"):
        if one.get("name") == metric:
            value = _value(str(one.get("max") or one.get("latest")))
            return float(value) if isinstance(value, int | float) else None
    return None


def _value(text: str) -> int | float | str:
    """A parameter's value, which Katib hands over as text."""
    if _WHOLE.fullmatch(text):
        return int(text)
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _part(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of somebody else's object, empty where it is none."""
    part = found.get(name)
    return part if isinstance(part, Mapping) else {}


def _items(found: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    items = found.get(name)
    return [one for one in items if isinstance(one, Mapping)] if isinstance(items, list) else []


def _message(told: TuningCompleted | TuningFailed, tuning: Tuning) -> str:
    if isinstance(told, TuningFailed):
        return f"tuning failed: {told.error[:200]}"
    value = "not measured" if told.value is None else f"{told.value:.3g}"
    return f"{tuning.name} tuned {tuning.algorithm}: {told.metric} {value} after {told.trials} trials"
