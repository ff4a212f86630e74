"""Who else works in a cluster, as far as the loop sees them: Kubeflow Pipelines' runs, Katib's searches,
Knative's sources, and people."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import orjson

from homeostat.eventing.wire import WireEvent
from homeostat.pipelines.announcement import completed_event, failed_event
from tests.cluster.callers import NAMESPACE
from tests.cluster.town import Town

ROWS = 200
GOOD = {"vus_pr": 0.9, "false_alarm_rate": 0.01, "latency_ms": 1.0}


def event(kind: str, data: Any, **attributes: str) -> WireEvent:
    """One that begins a chain."""
    head = {"specversion": "1.0", "id": str(uuid4()), "source": "/tests", "type": kind}
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


# --- Kubeflow Pipelines ----------------------------------------------------------------------------------
def started(town: Town, count: int) -> dict[str, Any]:
    """The last of so many runs, once it was created."""
    town.until(lambda: len(town.pipelines.stored["runs"]) == count)
    return town.pipelines.stored["runs"][-1]


def complete(town: Town, run: dict[str, Any], **metrics: float) -> None:
    """The run's last step registers its candidate, and says so."""
    told = run["runtime_config"]["parameters"]
    run["state"] = "SUCCEEDED"
    data = {
        "run": told["run"],
        "algorithm": told["candidates"][0],
        "uri": f"{told['models_root']}/{told['run']}",
        "version": "1",
        "metrics": GOOD | metrics,
        "rows": ROWS,
        "fingerprint": "f",
    }
    town.post(completed_event(told["detector"], json.loads(told["cause"]), data))


def fail(town: Town, run: dict[str, Any]) -> None:
    """Its exit handler says so."""
    told = run["runtime_config"]["parameters"]
    run["state"] = "FAILED"
    cause = json.loads(told["cause"])
    town.post(failed_event(told["detector"], cause, told["run"], "train", "out of memory"))
