"""Each function has its own eyes on a cluster, and loads nothing that those do not need."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from homeostat.eventing.codec import Context
from homeostat.eventing.errors import Reject, Retry
from homeostat.eventing.messages import DataLanded, InferenceRequest
from homeostat.functions import FUNCTIONS, observes
from homeostat.functions.detect_drift import DriftFacts
from homeostat.functions.detector import Batch, Cause, Detector, Revision, Status
from homeostat.functions.score_stream import StreamFacts
from homeostat.functions.spec import Data, Drift, Spec
from homeostat.infra.cluster.client import Objects
from homeostat.infra.cluster.detectors import DetectorObjects
from homeostat.infra.cluster.executors import Cluster
from homeostat.infra.cluster.inference_service import Options
from homeostat.infra.cluster.observers import observers
from homeostat.infra.cluster.settings import read
from homeostat.models import artifact
from tests.models.predictors import CHANNELS
from tests.models.predictors import detector as fitted

ENVIRONMENT = {
    "K_SINK": "http://broker-ingress.knative-eventing.svc.cluster.local/homeostat/default",
    "HOMEOSTAT_OBJECTS_URL": "s3://homeostat",
    "HOMEOSTAT_PROMETHEUS_URL": "http://prometheus.monitoring.svc.cluster.local:9090",
    "MLFLOW_TRACKING_URI": "http://mlflow.homeostat.svc.cluster.local:5000",
    "HOMEOSTAT_MAX_OBJECT_BYTES": "10000",
}
HEAVY = ["alibi_detect", "kserve", "kubernetes", "mlflow", "numba", "numpy", "pandas", "sklearn", "torch"]
EYES = {"receive-data", "detect-drift", "roll-out", "score-stream", "take-label"}
"""The others decide on their Detector alone, or on what runs."""
PROBE = """
import json, sys
import httpx
from homeostat.infra.cluster.client import Objects
from homeostat.infra.cluster.detectors import DetectorObjects
from homeostat.infra.cluster.executors import Cluster
from homeostat.infra.cluster.inference_service import Options
from homeostat.infra.cluster.observers import observers
from homeostat.infra.cluster.settings import read

environment, heavy = json.loads(sys.argv[2])
objects = Objects(httpx.Client(base_url="http://127.0.0.1:9"), "homeostat")
cluster = Cluster(objects, DetectorObjects(objects, sys.argv[1]), Options("knative"))
observers(sys.argv[1], read(environment), cluster)
print(json.dumps([one for one in heavy if one in sys.modules]))
"""
NOW = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)


def eyes(function: str, registry: CollectorRegistry | None = None) -> dict[type[Any], Any]:
    objects = Objects(httpx.Client(base_url="http://127.0.0.1:9"), "homeostat")
    cluster = Cluster(objects, DetectorObjects(objects, function), Options("knative"))
    return dict(observers(function, read(ENVIRONMENT), cluster, registry))


@pytest.fixture
def store() -> Iterator[Any]:
    """An object store that every module of this process reaches by memory://."""
    found = fsspec.filesystem("memory")
    yield found
    found.store.clear()


def seen(serving: str = "") -> Detector:
    revision = Revision(name="pump-1", uri=serving, algorithm="isolation-forest", version="1")
    return Detector(
        name="pump",
        spec=Spec(
            data=Data(uri="memory://plant/pump/", channels=CHANNELS, time="at"),
            drift=Drift(window=100, every=50),
        ),
        status=Status(serving=revision if serving else None),
        now=NOW,
        cause=Cause(id="c", correlationid="c"),
    )


def context(kind: Any, number: int = 1) -> Context:
    return Context(id=f"e{number}", source="/t", type=kind.type, subject="pump", correlationid="c")


@pytest.mark.parametrize("function", sorted({*FUNCTIONS} - {"detect-drift"}))  # which has its own test, below
def test_a_function_measures_what_it_decides_on(function: str) -> None:
    found = eyes(function)
    assert found.keys() == ({observes(FUNCTIONS[function])} if function in EYES else set())


@pytest.mark.parametrize("function", sorted({*FUNCTIONS} - {"receive-data", "detect-drift", "score-stream"}))
def test_the_light_functions_load_nothing_heavy(function: str) -> None:
    own = [sys.executable, "-c", PROBE, function, json.dumps([ENVIRONMENT, HEAVY])]
    done = subprocess.run(own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


# --- objects -----------------------------------------------------------------------------------------------
def landed(store: Any, rows: int, name: str = "b.csv") -> DataLanded:
    lines = [f"2026-11-24T12:{row // 60:02}:{row % 60:02}Z,1.{row},2.{row}" for row in range(rows)]
    text = "\n".join(["at," + ",".join(CHANNELS), *lines]) + "\n"
    store.pipe(f"/plant/pump/{name}", text.encode())
    return DataLanded(uri=f"memory://plant/pump/{name}", size=len(text), etag="1")


def test_an_object_is_looked_at_where_it_lies(store: Any) -> None:
    event = landed(store, 30)
    batch = asyncio.run(eyes("receive-data")[Batch](event, context(DataLanded), seen()))
    assert (batch.uri, batch.rows, batch.etag) == (event.uri, 30, "1")
    assert batch.first == datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_an_object_over_the_clusters_limit_is_refused(store: Any) -> None:
    event = landed(store, 400)
    with pytest.raises(Reject, match="HOMEOSTAT_MAX_OBJECT_BYTES"):
        asyncio.run(eyes("receive-data")[Batch](event, context(DataLanded), seen()))


# --- drift -------------------------------------------------------------------------------------------------
def test_drift_is_tested_with_the_artifact_of_the_object_store(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    """Once alibi-detect is loaded and the test calibrated: until then rows are only kept."""
    found = eyes("detect-drift")
    assert found.keys() == {DriftFacts}
    rows = np.random.default_rng(3).normal(size=(100, 2)) + 50
    event = InferenceRequest(instances=rows.tolist())
    uri = "memory://models/pump-1"
    with pytest.raises(Retry, match="pump-1 cannot be loaded: memory://models/pump-1 cannot be fetched"):
        asyncio.run(found[DriftFacts](event, context(InferenceRequest), seen(uri)))
    artifact.save(fitted(), tmp_path / "pump-1", {"version": "1"})
    store.put(str(tmp_path / "pump-1"), "/models/", recursive=True)
    facts, deadline = None, time.monotonic() + 60
    for number in range(1, 200):
        facts = asyncio.run(found[DriftFacts](event, context(InferenceRequest, number), seen(uri)))
        if facts or time.monotonic() > deadline:
            break
        time.sleep(0.3)
    assert facts is not None, "no verdict came"
    assert facts.revision == "pump-1"
    assert all(one.drifted for one in facts.verdicts), "of the rows that waited, and of the last ones"
    assert [one.name for one in (tmp_path / "homeostat").iterdir() if one.suffix == ".db"] == [
        "detect-drift.db"
    ]
    assert [one.parent.name for one in tmp_path.rglob(artifact.WEIGHTS)] == ["pump-1"], "what is fetched goes"


# --- streams -----------------------------------------------------------------------------------------------
def test_a_stream_counts_its_rows_where_the_function_shows_them() -> None:
    registry = CollectorRegistry()
    assert eyes("score-stream", registry).keys() == {StreamFacts}
    assert {one.name for one in registry.collect()} == {"homeostat_stream_rows", "homeostat_stream_batches"}
