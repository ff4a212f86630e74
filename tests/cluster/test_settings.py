"""What a pod is told, and what it says of what it was told wrongly."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from homeostat.eventing.errors import Reject
from homeostat.infra.cluster import settings as told
from tests.cluster.rendered import OVERLAYS, everything, of

SINK = {"K_SINK": "http://broker-ingress.knative-eventing.svc.cluster.local/homeostat/default"}
ENOUGH = {
    **SINK,
    "HOMEOSTAT_OBJECTS_URL": "s3://homeostat",
    "HOMEOSTAT_PROMETHEUS_URL": "http://prometheus:9090",
    "MLFLOW_TRACKING_URI": "http://mlflow:5000/",
}


@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_the_config_map_of_every_overlay_is_all_that_a_pod_needs_beside_its_sink(name: str) -> None:
    data = of(everything()[name], "ConfigMap")["homeostat"]["data"]
    found = told.read({**SINK, **data})
    assert found.namespace == "homeostat"
    assert found.models_root == "s3://homeostat/models"


@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_no_name_of_the_config_map_is_unknown_to_the_pods(name: str) -> None:
    known = {one.alias for one in told.Settings.model_fields.values()}
    elsewhere = {"HOMEOSTAT_HOME", "HOMEOSTAT_LOG_LEVEL", "HOMEOSTAT_LOG_FORMAT"}
    assert of(everything()[name], "ConfigMap")["homeostat"]["data"].keys() <= known | elsewhere


def test_what_is_missing_or_wrong_is_told_at_once_by_its_name() -> None:
    wrong = {
        "HOMEOSTAT_PROMETHEUS_URL": "prometheus:9090",
        "HOMEOSTAT_SERVING_MODE": "raw",
        "HOMEOSTAT_OBJECTS_URL": "models",
        "HOMEOSTAT_PIPELINES_URL": "ml-pipeline",
    }
    with pytest.raises(Reject) as refused:
        told.read(wrong)
    found = {one.field: one for one in refused.value.faults}
    names = {*wrong, "K_SINK", "MLFLOW_TRACKING_URI"}
    assert found.keys() == {f"environment.{one}" for one in names}
    assert found["environment.K_SINK"].value == "missing"
    assert "s3://" in found["environment.HOMEOSTAT_OBJECTS_URL"].mend


def test_a_cluster_without_pipelines_leaves_their_address_empty() -> None:
    assert told.read({**ENOUGH, "HOMEOSTAT_PIPELINES_URL": ""}).pipelines_url == ""


def test_the_token_for_the_broker_is_read_anew_each_time(tmp_path: Path, monkeypatch: Any) -> None:
    file = tmp_path / "token"
    monkeypatch.setattr(told, "OIDC", file)
    found = told.read(ENOUGH)
    assert found.token() is None
    for token in ("first", "second"):
        file.write_text(f"{token}\n")
        assert found.token() == token


def test_an_authority_of_the_brokers_own_is_trusted_beside_everyones(tmp_path: Path) -> None:
    assert told.read(ENOUGH).trust() is True
    with pytest.raises(ssl.SSLError):
        told.read({**ENOUGH, "K_CA_CERTS": "no certificate"}).trust()
