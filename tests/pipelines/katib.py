"""The fields of Katib's Experiment (v1beta1, `pkg/apis/controller`): its CRD takes any, its webhook does not
take what it cannot read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ANY: Any = None

EXPERIMENT: Mapping[str, Any] = {
    "apiVersion": ANY,
    "kind": ANY,
    "metadata": ANY,
    "spec": {
        "objective": {
            "type": ANY,
            "goal": ANY,
            "objectiveMetricName": ANY,
            "additionalMetricNames": ANY,
            "metricStrategies": ANY,
        },
        "algorithm": {"algorithmName": ANY, "algorithmSettings": {"name": ANY, "value": ANY}},
        "earlyStopping": {"algorithmName": ANY, "algorithmSettings": {"name": ANY, "value": ANY}},
        "metricsCollectorSpec": {"collector": {"kind": ANY, "customCollector": ANY}, "source": ANY},
        "maxTrialCount": ANY,
        "parallelTrialCount": ANY,
        "maxFailedTrialCount": ANY,
        "resumePolicy": ANY,
        "nasConfig": ANY,
        "parameters": {
            "name": ANY,
            "parameterType": ANY,
            "feasibleSpace": {"min": ANY, "max": ANY, "step": ANY, "list": ANY, "distribution": ANY},
        },
        "trialTemplate": {
            "retain": ANY,
            "primaryPodLabels": ANY,
            "primaryContainerName": ANY,
            "successCondition": ANY,
            "failureCondition": ANY,
            "configMap": ANY,
            "trialSpec": ANY,
            "trialParameters": {"name": ANY, "description": ANY, "reference": ANY},
        },
    },
}


def unknown(found: Any, known: Any = EXPERIMENT, path: str = "") -> Iterator[str]:
    """The paths of fields that Katib does not have."""
    if known is ANY:
        return
    if isinstance(found, list):
        for one in found:
            yield from unknown(one, known, path)
        return
    for key, value in found.items():
        where = f"{path}.{key}".lstrip(".")
        if key not in known:
            yield where
        else:
            yield from unknown(value, known[key], where)
