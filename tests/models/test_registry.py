"""The model registry: one version per run, with everything that made it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from homeostat.models.registry import RUN_TAG, Registration, register_once

REGISTRATION = Registration(
    detector="pump",
    run="pump-1",
    uri="/models/pump/pump-1/isolation-forest",
    algorithm="isolation-forest",
    parameters={"trees": 100, "seed": 0},
    metrics={"vus_pr": 0.8, "f1": None, "latency_ms": float("nan")},
    fingerprint="sha256:abc",
    cause="event-1",
)


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


def test_a_run_gets_one_version_however_often_it_registers(tracking: str) -> None:
    versions = {register_once(tracking, REGISTRATION) for _ in range(3)}
    other = register_once(tracking, replace(REGISTRATION, run="pump-2", cause="event-2"))
    assert versions == {"1"}
    assert other == "2"


def test_parameters_metrics_data_code_and_cause_are_recorded(tracking: str) -> None:
    version = register_once(tracking, REGISTRATION)
    client = MlflowClient(tracking_uri=tracking, registry_uri=tracking)
    found = client.get_model_version("pump", version)
    assert found.source == REGISTRATION.uri
    assert found.tags[RUN_TAG] == "pump-1"
    recorded = client.get_run(found.run_id).data
    assert recorded.params["trees"] == "100"
    assert recorded.metrics == {"vus_pr": 0.8}
    assert recorded.tags["homeostat.cause"] == "event-1"
    assert recorded.tags["homeostat.data"] == "sha256:abc"
    assert recorded.tags["homeostat.code"]


def test_detectors_have_versions_of_their_own(tracking: str, tmp_path: Path) -> None:
    assert register_once(tracking, replace(REGISTRATION, detector="fan", run="fan-1")) == "1"
