"""A Katib Experiment as one machine runs it: the manifest taken apart, with Katib's defaults."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeostat.eventing.errors import Fault, Reject, shown

from .tuning_algorithms import EARLY_STOPPING, algorithm, read_settings
from .tuning_metrics import Collector, collector
from .tuning_parameters import Parameter, parameters
from .tuning_template import MODULES, Template, template

API_VERSION, KIND = "kubeflow.org/v1beta1", "Experiment"
PARALLEL = 3
"""Katib's `parallelTrialCount` where none is given."""

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
_STRATEGIES = {"min": "min", "max": "max", "latest": "latest"}


@dataclass(frozen=True)
class Objective:
    """`strategies` are of every metric that is collected, the objective's first."""

    name: str
    maximize: bool
    goal: float | None
    strategies: Mapping[str, str]

    def reached(self, value: float) -> bool:
        if self.goal is None:
            return False
        return value >= self.goal if self.maximize else value <= self.goal

    def better(self, value: float, than: float) -> bool:
        return value > than if self.maximize else value < than


@dataclass(frozen=True)
class MedianStop:
    min_trials_required: int = 3
    start_step: int = 4


@dataclass(frozen=True)
class Experiment:
    name: str
    namespace: str
    objective: Objective
    algorithm: str
    settings: Mapping[str, Any]
    parameters: tuple[Parameter, ...]
    early_stopping: MedianStop | None
    parallel: int
    max_trials: int | None
    max_failed: int | None
    collector: Collector
    template: Template


def experiment(document: Mapping[str, Any], modules: tuple[str, ...] = MODULES) -> Experiment:
    """Take a manifest apart. Raises Reject with every fault: field, value and mend."""
    try:
        return _read(document, modules)
    except (AttributeError, KeyError, TypeError) as error:
        mend = f"one of its fields is of another type than Katib's CRD says ({error})"
        raise Reject(Fault("Experiment", shown(document), mend)) from error


def _read(document: Mapping[str, Any], modules: tuple[str, ...]) -> Experiment:
    faults: list[Fault] = []
    metadata, spec = document.get("metadata") or {}, document.get("spec") or {}
    _check_identity(document, metadata, faults)
    counts = {name: _count(spec, name, faults) for name in _LEAST}
    _check_counts(counts, faults)
    axes = parameters(spec, faults)
    objective = _objective(spec, faults)
    method, settings = algorithm(spec, axes, counts["maxTrialCount"], faults)
    stopping = _early_stopping(spec, faults)
    reading = collector(spec, tuple(objective.strategies), faults)
    job = template(spec, [axis.name for axis in axes], modules, faults)
    if faults or job is None:
        raise Reject(faults)
    return Experiment(
        name=metadata["name"],
        namespace=metadata.get("namespace") or "default",
        objective=objective,
        algorithm=method,
        settings=settings,
        parameters=axes,
        early_stopping=stopping,
        parallel=counts["parallelTrialCount"] or PARALLEL,
        max_trials=counts["maxTrialCount"],
        max_failed=counts["maxFailedTrialCount"],
        collector=reading,
        template=job,
    )


def _check_identity(document: Mapping[str, Any], metadata: Mapping[str, Any], faults: list[Fault]) -> None:
    for field, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        if document.get(field) != expected:
            faults.append(Fault(field, shown(document.get(field)), f"this engine runs {expected}"))
    name = metadata.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        mend = "begin with a letter; a-z, 0-9 and hyphens, 40 characters at most"
        faults.append(Fault("metadata.name", shown(name), mend))


_LEAST = {"parallelTrialCount": 1, "maxTrialCount": 1, "maxFailedTrialCount": 0}


def _count(spec: Mapping[str, Any], name: str, faults: list[Fault]) -> int | None:
    value = spec.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= _LEAST[name]):
        return value
    faults.append(Fault(f"spec.{name}", shown(value), f"give a whole number, {_LEAST[name]} or more"))
    return None


def _check_counts(counts: Mapping[str, int | None], faults: list[Fault]) -> None:
    most = counts["maxTrialCount"]
    for name in ("parallelTrialCount", "maxFailedTrialCount"):
        value = counts[name]
        if most is not None and value is not None and value > most:
            faults.append(Fault(f"spec.{name}", shown(value), f"give no more than maxTrialCount, {most}"))


def _objective(spec: Mapping[str, Any], faults: list[Fault]) -> Objective:
    given = spec.get("objective") or {}
    kind, name, goal = given.get("type"), given.get("objectiveMetricName"), given.get("goal")
    if kind not in ("maximize", "minimize"):
        faults.append(Fault("spec.objective.type", shown(kind), "use maximize or minimize"))
    if not name or not isinstance(name, str):
        faults.append(Fault("spec.objective.objectiveMetricName", shown(name), "name the metric"))
    if goal is not None and not (isinstance(goal, int | float) and math.isfinite(goal)):
        faults.append(Fault("spec.objective.goal", shown(goal), "give a number, or none"))
    more = [str(one) for one in given.get("additionalMetricNames") or ()]
    if name in more:
        faults.append(Fault("spec.objective.additionalMetricNames", shown(name), "leave the objective out"))
    usual = "max" if kind == "maximize" else "min"
    strategies = dict.fromkeys((str(name), *more), usual)
    for place, one in enumerate(given.get("metricStrategies") or ()):
        if one.get("value") not in _STRATEGIES:
            path = f"spec.objective.metricStrategies[{place}].value"
            faults.append(Fault(path, shown(one.get("value")), f"use one of {', '.join(_STRATEGIES)}"))
        elif one.get("name") in strategies:
            strategies[one["name"]] = one["value"]
    return Objective(str(name), kind == "maximize", goal, strategies)


def _early_stopping(spec: Mapping[str, Any], faults: list[Fault]) -> MedianStop | None:
    given = spec.get("earlyStopping")
    if not given:
        return None
    if (name := given.get("algorithmName")) != "medianstop":
        faults.append(Fault("spec.earlyStopping.algorithmName", shown(name), "there is medianstop"))
        return None
    return MedianStop(**read_settings(given, EARLY_STOPPING, "spec.earlyStopping", faults))
