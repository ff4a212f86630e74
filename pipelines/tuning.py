"""A search for better parameters, as a Katib Experiment: the same document drives Katib on a cluster and the
engine of one machine.

Katib puts its collector beside each trial and runs the trial's command through `sh -c`, its arguments joined
by blanks and not quoted. So what has quotes in it (the spec, the data) is in the environment, and arguments
are numbers and plain words. Its collector takes the trial's securityContext over only when the controller was
started with `webhook-inject-securitycontext`, which a namespace with Pod Security `restricted` needs.

https://www.kubeflow.org/docs/components/katib/user-guides/hp-tuning/configure-experiment/
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson

from homeostat.eventing.durations import parse_duration

from .search_spaces import RESOURCES, Axis, space, text

API_VERSION, KIND = "kubeflow.org/v1beta1", "Experiment"
LABEL = "homeostat.dev/detector"
"""Whose Experiment it is, and so whose event its changes are (see `eventing.codec`)."""

TASK = "HOMEOSTAT_TRIAL"
"""The environment variable that says what every trial of an Experiment has in common."""

BYTES = 100_000
"""Linux takes 128 KiB for one variable."""

CONTAINER = "trial"
ADDITIONAL = ("false_alarm_rate", "latency_ms")
"""The gate's other figures: for people who look at the trials."""

ETA, LARGEST = 3, 9
"""Hyperband: a third goes on each time, with thrice the epochs; `LARGEST` trials begin at once."""


@dataclass(frozen=True)
class Trials:
    """Where trials run: `template` is that of a PodTemplate, whose first container becomes the trial's."""

    namespace: str = "homeostat"
    template: Mapping[str, Any] = field(
        default_factory=lambda: {"spec": {"containers": [{"name": CONTAINER, "image": "homeostat-work"}]}}
    )


@dataclass(frozen=True)
class Search:
    """What is searched for: the parameters of `algorithm`, on these batches. `spec` is the Detector's, as
    JSON; `champion` the artifact that serves, which keeps suspect rows out as in a training."""

    name: str
    detector: str
    algorithm: str
    data: Sequence[str]
    spec: Mapping[str, Any]
    champion: str = ""


def experiment(search: Search, trials: Trials) -> dict[str, Any]:
    """The Experiment. Raises ValueError for a search that Katib cannot do."""
    tuning, metric = search.spec["tuning"], search.spec["gate"]["metric"]
    axes = _axes(search)
    most = _most_trials(tuning, axes)
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": search.name,
            "namespace": trials.namespace,
            "labels": _labels(search),
            "annotations": {"homeostat.dev/algorithm": search.algorithm},
        },
        "spec": {
            "objective": {
                "type": "maximize",
                "objectiveMetricName": metric,
                "additionalMetricNames": list(ADDITIONAL),
            },
            "algorithm": {
                "algorithmName": tuning["algorithm"],
                "algorithmSettings": _settings(tuning["algorithm"]),
            },
            "earlyStopping": {"algorithmName": "medianstop"},
            "metricsCollectorSpec": {"collector": {"kind": "StdOut"}},
            "maxTrialCount": most,
            "parallelTrialCount": min(tuning["parallel"], most),
            "maxFailedTrialCount": min(tuning["max_failed"], most),
            "resumePolicy": "Never",
            "parameters": [_parameter(name, one, tuning["algorithm"]) for name, one in axes.items()],
            "trialTemplate": {
                "primaryContainerName": CONTAINER,
                "retain": False,
                "trialParameters": [{"name": name, "reference": name} for name in axes],
                "trialSpec": _job(search, axes, trials, _seconds(tuning, most)),
            },
        },
    }


def _axes(search: Search) -> dict[str, Axis]:
    tuning, axes = search.spec["tuning"], space(search.algorithm, search.spec)
    if tuning["algorithm"] != "hyperband":
        return axes
    if search.algorithm not in RESOURCES:
        raise ValueError(
            f"hyperband gives some trials more epochs than others, and {search.algorithm} has none: "
            f"set spec.tuning.algorithm to tpe, or tune one of {', '.join(RESOURCES)}"
        )
    if tuning["parallel"] < LARGEST:
        raise ValueError(
            f"spec.tuning.parallel is {tuning['parallel']}: hyperband begins {LARGEST} at once; give it "
            "as many, or set spec.tuning.algorithm to tpe"
        )
    return {**axes, "epochs": RESOURCES[search.algorithm]}


def _settings(algorithm: str) -> list[dict[str, str]]:
    if algorithm != "hyperband":
        return []
    given = {"resource_name": "epochs", "r_l": str(LARGEST), "eta": str(ETA)}
    return [{"name": name, "value": value} for name, value in given.items()]


def _most_trials(tuning: Mapping[str, Any], axes: Mapping[str, Axis]) -> int:
    """A grid has so many places, and Katib refuses more trials than that."""
    most = int(tuning["trials"])
    return min(most, math.prod(len(one.points()) for one in axes.values())) if _is_grid(tuning) else most


def _is_grid(tuning: Mapping[str, Any]) -> bool:
    return bool(tuning["algorithm"] == "grid")


def _seconds(tuning: Mapping[str, Any], most: int) -> int:
    """How long one trial may take: its share, so that all of them end within `spec.tuning.timeout`."""
    whole: timedelta = parse_duration(tuning["timeout"])
    rounds = math.ceil(most / min(tuning["parallel"], most))
    return max(1, int(whole.total_seconds() / rounds))


def _parameter(name: str, axis: Axis, algorithm: str) -> dict[str, Any]:
    if axis.kind == "categorical":
        return {"name": name, "parameterType": "categorical", "feasibleSpace": {"list": list(axis.values)}}
    if algorithm == "grid":
        return {"name": name, "parameterType": "discrete", "feasibleSpace": {"list": list(axis.points())}}
    bounds = {"min": text(axis.low), "max": text(axis.high)}
    if axis.log and axis.kind == "double":
        bounds["distribution"] = "logUniform"
    return {"name": name, "parameterType": axis.kind, "feasibleSpace": bounds}


def _labels(search: Search) -> dict[str, str]:
    return {
        LABEL: search.detector,
        "app.kubernetes.io/managed-by": "homeostat",
        "app.kubernetes.io/part-of": "homeostat",
    }


# --- one trial --------------------------------------------------------------------------------------------
def _job(search: Search, axes: Mapping[str, Axis], trials: Trials, seconds: int) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {
            "backoffLimit": 0,  # the same parameters fail again; Katib counts the failure and goes on
            "activeDeadlineSeconds": seconds,
            "template": _pod(search, axes, trials.template),
        },
    }


def _pod(search: Search, axes: Mapping[str, Axis], template: Mapping[str, Any]) -> dict[str, Any]:
    metadata, spec = template.get("metadata") or {}, template["spec"]
    first, *others = spec["containers"]
    container = {
        **first,
        "name": CONTAINER,
        "command": ["python", "-m", "homeostat.pipelines.trial"],
        "args": [f"--{name}=${{trialParameters.{name}}}" for name in axes],
        "env": [*first.get("env", ()), {"name": TASK, "value": _task(search)}],
    }
    return {
        "metadata": {
            "labels": {
                **metadata.get("labels", {}),
                **_labels(search),
                "app.kubernetes.io/component": "trial",
            },
            # A proxy beside it never ends, and so the trial would not (katib#1042).
            "annotations": {**metadata.get("annotations", {}), "sidecar.istio.io/inject": "false"},
        },
        "spec": {**spec, "restartPolicy": "Never", "containers": [container, *others]},
    }


def _task(search: Search) -> str:
    task = {
        "algorithm": search.algorithm,
        "data": list(search.data),
        "spec": dict(search.spec),
        "champion": search.champion,
    }
    found = orjson.dumps(task).decode()
    if len(found) > BYTES:
        raise ValueError(
            f"{len(search.data)} batches and the spec are {len(found)} bytes, a trial can be told {BYTES}: "
            "land fewer and larger objects, or lower spec.retrain.max_rows"
        )
    return found
