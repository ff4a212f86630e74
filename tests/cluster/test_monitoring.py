"""What Prometheus is told to scrape is where our processes show their metrics."""

from __future__ import annotations

from typing import Any

import pytest

from homeostat.functions.detector import Revision
from homeostat.infra.cluster.inference_service import CONTAINER, Options, predictor
from tests.cluster.kinds import wrong
from tests.cluster.rendered import base, of, overlay, services


def endpoint(monitor: str) -> dict[str, Any]:
    (found,) = of(base(), "PodMonitor")[monitor]["spec"]["podMetricsEndpoints"]
    assert found["path"] == "/metrics"
    return dict(found)


def test_predictors_are_scraped_at_the_port_that_they_listen_at() -> None:
    (container,) = of(base(), "ClusterServingRuntime")["homeostat"]["spec"]["containers"]
    (port,) = container["ports"]
    assert container["name"] == CONTAINER
    assert endpoint("predictors")["portNumber"] == port["containerPort"]
    assert f"--http_port={port['containerPort']}" in container["args"]
    assert container["readinessProbe"]["httpGet"]["port"] == port["containerPort"]


def test_an_alert_names_its_detector_and_nothing_relabels_a_revision() -> None:
    relabelled = [
        (name, step["sourceLabels"], step["targetLabel"])
        for name, monitor in of(base(), "PodMonitor").items()
        for one in monitor["spec"]["podMetricsEndpoints"]
        for step in one.get("relabelings", ())
    ]
    # KServe writes the InferenceService's name on its pods, and that is the Detector's.
    inference_service = "__meta_kubernetes_pod_label_serving_kserve_io_inferenceservice"
    assert relabelled == [("predictors", [inference_service], "detector")]
    for monitor in of(base(), "PodMonitor").values():
        for one in monitor["spec"]["podMetricsEndpoints"]:
            assert not one.keys() & {"metricRelabelings", "honorLabels"}


def test_one_monitor_alone_scrapes_predictors() -> None:
    selecting = [
        name
        for name, one in of(base(), "PodMonitor").items()
        if "serving.kserve.io/inferenceservice" in str(one["spec"]["selector"])
    ]
    assert selecting == ["predictors"]


def test_services_are_scraped_at_the_port_that_they_listen_at() -> None:
    ports = {
        port["containerPort"]
        for one in services(base()).values()
        for container in one["spec"]["template"]["spec"]["containers"]
        for port in container["ports"]
    }
    assert ports == {endpoint("services")["portNumber"]}


def test_a_predictors_pod_is_named_the_same_as_canary_and_as_what_it_becomes() -> None:
    new = Revision(name="pump-new", uri="s3://models/new", algorithm="forest", version="1")
    for mode in ("knative", "standard"):
        (variable,) = predictor(new, Options(mode))["model"]["env"]  # type: ignore[arg-type]
        assert variable == {"name": "HOMEOSTAT_REVISION", "value": "pump-new"}


@pytest.mark.parametrize("kind", ["PodMonitor", "PrometheusRule"])
def test_what_the_operator_reads_is_valid(kind: str) -> None:
    for one in of(overlay("production"), kind).values():
        assert wrong(one) == []
