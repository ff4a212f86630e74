"""Experiments as people write them for Katib, and a home's engine that runs them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from homeostat.eventing.wire import WireEvent
from homeostat.infra.local.tuning import Experiments
from tests.eventing.brokers import until
from tests.pipelines.katib import EXPERIMENT, unknown

REPOSITORY = Path(__file__).parents[2]
MODULES = ("tests.infra.",)

STATUS: Mapping[str, Any] = {
    **dict.fromkeys(("startTime", "completionTime", "lastReconcileTime", "trials")),
    **dict.fromkeys(("trialsSucceeded", "trialsFailed", "trialsKilled", "trialsPending", "trialsRunning")),
    **dict.fromkeys(("trialsEarlyStopped", "trialMetricsUnavailable")),
    **dict.fromkeys(("runningTrialList", "pendingTrialList", "failedTrialList", "succeededTrialList")),
    **dict.fromkeys(("killedTrialList", "earlyStoppedTrialList", "metricsUnavailableTrialList")),
    "conditions": dict.fromkeys(
        ("type", "status", "reason", "message", "lastUpdateTime", "lastTransitionTime")
    ),
    "currentOptimalTrial": {
        "bestTrialName": None,
        "parameterAssignments": {"name": None, "value": None},
        "observation": {"metrics": dict.fromkeys(("name", "min", "max", "latest"))},
    },
}
"""The fields of Katib's ExperimentStatus (`experiment_types.go`): its CRD takes any."""

AXES: Mapping[str, Any] = {
    "x": {"parameterType": "double", "feasibleSpace": {"min": "0", "max": "1", "step": "0.05"}},
    "n": {"parameterType": "int", "feasibleSpace": {"min": "1", "max": "9"}},
    "word": {"parameterType": "categorical", "feasibleSpace": {"list": ["a", "b"]}},
}
X_ONLY = {"x": AXES["x"]}


def manifest(
    name: str,
    algorithm: str = "random",
    settings: Mapping[str, str] | None = None,
    axes: Mapping[str, Any] = X_ONLY,
    arguments: Sequence[str] = (),
    container: Mapping[str, Any] | None = None,
    job: Mapping[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """An Experiment of `tiny_trial`, which gets every axis as an argument."""
    given = [{"name": key, "value": value} for key, value in (settings or {}).items()]
    words = [f"--{axis}=${{trialParameters.{axis}}}" for axis in axes]
    trial = {
        "name": "trial",
        "image": "example.org/any:1",
        "command": ["python3", "-m", "tests.infra.tiny_trial"],
        "args": [*words, *arguments],
        **(container or {}),
    }
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name, "namespace": "plant", "labels": {"homeostat.dev/detector": "pump"}},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": algorithm, "algorithmSettings": given},
            "parallelTrialCount": 2,
            "maxTrialCount": 6,
            "parameters": [{"name": axis, **space} for axis, space in axes.items()],
            "trialTemplate": {
                "primaryContainerName": "trial",
                "trialParameters": [
                    *({"name": axis, "reference": axis} for axis in axes),
                    {"name": "trialName", "reference": "${trialSpec.Name}"},
                ],
                "trialSpec": {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "spec": {
                        "template": {"spec": {"restartPolicy": "Never", "containers": [trial]}},
                        **(job or {}),
                    },
                },
            },
            **spec,
        },
    }


class Home:
    """A started engine, and all that it has emitted. `failing` makes emitting fail."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.events: list[WireEvent] = []
        self.failing = False
        self.folder = folder
        environment = {"PYTHONPATH": str(REPOSITORY), **options.pop("environment", {})}
        self.engine = Experiments(
            folder,
            emit=self._emit,
            environment=environment,
            **{"modules": MODULES, "max_parallel": 2, **options},
        )

    async def _emit(self, events: Sequence[WireEvent]) -> None:
        if self.failing:
            raise OSError("no space left on device")
        self.events += events

    async def ended(self, name: str, seconds: float = 60) -> dict[str, Any]:
        """The Experiment as its last event has it, once the search is over."""
        await until(lambda: self.engine.states()[name] != "running", seconds)
        await until(lambda: "completionTime" in self.told(name)[-1]["status"], 10)
        return self.told(name)[-1]

    def told(self, name: str) -> list[dict[str, Any]]:
        """Every version of it that was told, in their order."""
        found = [orjson.loads(one.data or b"") for one in self.events if one.attributes["name"] == name]
        return sorted(found, key=lambda one: int(one["metadata"]["resourceVersion"]))

    def trials(self, name: str) -> dict[str, dict[str, Any]]:
        files = (self.folder / "experiments" / name / "trials").glob("*/trial.json")
        return {one["name"]: one for one in (orjson.loads(file.read_bytes()) for file in files)}


@asynccontextmanager
async def home(folder: Path, **options: Any) -> AsyncIterator[Home]:
    found = Home(folder, **options)
    await found.engine.start()
    try:
        yield found
    finally:
        await found.engine.stop()


def run(folder: Path, document: Mapping[str, Any], **options: Any) -> tuple[dict[str, Any], Home]:
    """Run one Experiment to its end."""

    async def story() -> tuple[dict[str, Any], Home]:
        async with home(folder, **options) as found:
            await found.engine.submit(document)
            return await found.ended(document["metadata"]["name"]), found

    return asyncio.run(story())


def conditions(document: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Status and reason by the condition's type."""
    return {one["type"]: (one["status"], one["reason"]) for one in document["status"]["conditions"]}


def strange(document: Mapping[str, Any]) -> list[str]:
    """The fields that Katib does not have."""
    return list(unknown(document, {**EXPERIMENT, "status": STATUS}))
