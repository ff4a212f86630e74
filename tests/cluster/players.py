"""Who else works in a cluster, as far as the loop sees them: Kubeflow Pipelines' runs, Katib's searches,
Knative's sources, and people."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import orjson

from homeostat.eventing.wire import WireEvent
from homeostat.pipelines.announcement import completed_event, failed_event
from homeostat.pipelines.distributed import job_name
from tests.cluster.callers import NAMESPACE
from tests.cluster.town import Town

ROWS = 200
GOOD = {"vus_pr": 0.9, "false_alarm_rate": 0.01, "latency_ms": 1.0}


def event(type_: str, data: Any, /, **attributes: str) -> WireEvent:
    """One that begins a chain."""
    head = {"specversion": "1.0", "id": str(uuid4()), "source": "/tests", "type": type_}
    return WireEvent({**head, "datacontenttype": "application/json", **attributes}, orjson.dumps(data))


def tick(town: Town) -> None:
    """A PingSource's."""
    town.post(event("dev.knative.sources.ping", {}))


def detector(town: Town, **sections: Any) -> dict[str, Any]:
    """As its owner writes it, its waits short; `sections` override."""
    spec: dict[str, Any] = {
        "data": {"uri": f"{(town.folder / 'data').as_uri()}/", "channels": ["a", "b"]},
        "candidates": ["isolation-forest"],
        "retrain": {"min_new_rows": 150, "min_drift_rows": 50, "cooldown": "1s"},
        "drift": {"consecutive": 1},
        "canary": {"steps": [20, 50], "every": "60s", "min_requests": 100},
        **sections,
    }
    return {
        "apiVersion": "homeostat.dev/v1alpha1",
        "kind": "Detector",
        "metadata": {"name": "pump", "namespace": NAMESPACE},
        "spec": spec,
    }


def land(town: Town, name: str, rows: int = ROWS) -> None:
    """New rows lie in storage, which says so."""
    folder = town.folder / "data"
    folder.mkdir(exist_ok=True)
    lines = [f"2026-11-24 10:{one // 60:02d}:{one % 60:02d},{one % 7},{one % 5}" for one in range(rows)]
    (folder / name).write_text("\n".join(["datetime,a,b", *lines]))
    town.post(event("dev.homeostat.data.landed", {"uri": (folder / name).as_uri()}, subject="pump"))


def infer(town: Town) -> None:
    """KServe's logger saw a request."""
    more = {"inferenceservicename": "pump", "namespace": NAMESPACE, "component": "predictor"}
    town.post(event("org.kubeflow.serving.inference.request", {"instances": [[1.0, 2.0]]}, **more))


# --- Kubeflow Pipelines, or Trainer ----------------------------------------------------------------------
def started(town: Town, *before: str) -> str:
    """The run in flight that is none of those before, once its engine has it."""

    def named() -> str:
        return str((town.status().get("run") or {}).get("name", ""))

    town.until(lambda: named() not in ("", *before) and _has(town, named()))
    return named()


def _has(town: Town, run: str) -> bool:
    return bool(_runs(town, run) if town.settings.pipelines_url else _job(town, run))


def _runs(town: Town, name: str) -> list[dict[str, Any]]:
    return [one for one in town.pipelines.stored["runs"] if one["display_name"] == name]


def _job(town: Town, name: str) -> dict[str, Any] | None:
    return town.server.get("TrainJob", job_name(name))


def complete(town: Town, run: str, **metrics: float) -> None:
    """The run's last step registers its candidate, and says so; whom it answers, it was told."""
    told = _told(town, run, "SUCCEEDED")
    data = {
        "run": run,
        "algorithm": "isolation-forest",
        "uri": artifact(town, run),
        "version": "1",
        "metrics": GOOD | metrics,
        "rows": ROWS,
        "fingerprint": "f",
    }
    town.post(completed_event("pump", told, data))


def fail(town: Town, run: str) -> None:
    """Its exit handler says so."""
    town.post(failed_event("pump", _told(town, run, "FAILED"), run, "train", "out of memory"))


def _told(town: Town, run: str, state: str) -> dict[str, Any]:
    """The cause that the run was given. It ends."""
    if town.settings.pipelines_url:
        first = _runs(town, run)[0]
        first["state"] = state
        return dict(json.loads(first["runtime_config"]["parameters"]["cause"]))
    return dict(town.status()["run"]["cause"])


def artifact(town: Town, run: str) -> str:
    return f"{town.settings.models_root}/{run}"


# --- Katib -----------------------------------------------------------------------------------------------
def searched(town: Town) -> dict[str, Any]:
    """The Experiment in flight, once it was created."""
    town.until(lambda: town.server.get("Experiment", (town.status()["tuning"] or {}).get("name", "")))
    found = town.server.get("Experiment", town.status()["tuning"]["name"])
    assert found is not None
    return found


def end_search(town: Town, experiment: dict[str, Any], good: bool = True) -> None:
    """Katib's controller writes how it ended, and Knative's ApiServerSource saw that it changed."""
    metric = experiment["spec"]["objective"]["objectiveMetricName"]
    first = {"type": "Created", "status": "True", "reason": "ExperimentCreated", "message": "it is created"}
    running = {"type": "Running", "status": "False", "reason": "ExperimentRunning", "message": "it ran"}
    end = {"type": "Succeeded", "status": "True", "reason": "ExperimentGoalReached", "message": "well"}
    if not good:
        message = "Experiment has failed because max failed count has reached"
        end = {"type": "Failed", "status": "True", "reason": "ExperimentMaxFailedTrials", "message": message}
    best = {
        "bestTrialName": f"{experiment['metadata']['name']}-1",
        "parameterAssignments": [{"name": "trees", "value": "80"}],
        "observation": {"metrics": [{"name": metric, "min": "0.5", "max": "0.8", "latest": "0.8"}]},
    }
    status = {"conditions": [first, running, end], "trialsSucceeded": 4 if good else 0}
    town.server.put({**experiment, "status": {**status, **({"currentOptimalTrial": best} if good else {})}})
    seen = town.server.get("Experiment", experiment["metadata"]["name"])
    path = f"/apis/kubeflow.org/v1beta1/namespaces/{NAMESPACE}/experiments/{experiment['metadata']['name']}"
    more = {"apiversion": "kubeflow.org/v1beta1", "kind": "Experiment", "namespace": NAMESPACE}
    changed = event("dev.knative.apiserver.resource.update", seen, subject=path, **more)
    town.post(changed)
