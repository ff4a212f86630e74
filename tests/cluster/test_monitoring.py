"""What Prometheus is told to scrape is where our processes show their metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from homeostat.functions.detector import Revision
from homeostat.infra.cluster.inference_service import CONTAINER, Options, predictor
from homeostat.infra.local.settings import Settings
from homeostat.infra.monitoring import grafana
from homeostat.infra.monitoring.machine import Stack, alertmanager
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


@pytest.mark.parametrize("kind", ["PodMonitor", "PrometheusRule", "AlertmanagerConfig"])
def test_what_the_operator_reads_is_valid(kind: str) -> None:
    for one in of(overlay("production"), kind).values():
        assert wrong(one) == []


def test_alertmanager_sends_what_names_a_detector_to_the_gateway_with_a_token_of_its_own() -> None:
    spec = of(base(), "AlertmanagerConfig")["homeostat"]["spec"]
    assert spec["route"]["matchers"] == [{"name": "detector", "matchType": "=~", "value": ".+"}]
    (receiver,) = spec["receivers"]
    (webhook,) = receiver["webhookConfigs"]
    assert webhook["url"] == "http://gateway.homeostat.svc.cluster.local/gateway/alertmanager"
    assert webhook["sendResolved"], "an incident is closed by its end"
    assert webhook["httpConfig"]["authorization"]["credentials"]["name"] == "homeostat-alertmanager"


def test_both_homes_group_alerts_alike(tmp_path: Path) -> None:
    route = of(base(), "AlertmanagerConfig")["homeostat"]["spec"]["route"]
    ours = alertmanager(Stack(tmp_path, Settings(state=tmp_path)), None)["route"]
    waits = ("group_wait", "group_interval", "repeat_interval")
    assert ours["group_by"] == route["groupBy"]
    assert [ours[one] for one in waits] == [
        route[one] for one in ("groupWait", "groupInterval", "repeatInterval")
    ]


def test_every_alert_carries_the_namespace_that_the_operator_matches_by() -> None:
    rule = of(base(), "PrometheusRule")["homeostat"]
    for one in (one for group in rule["spec"]["groups"] for one in group["rules"] if "alert" in one):
        assert one["labels"]["namespace"] == rule["metadata"]["namespace"], one["alert"]
        assert one["labels"]["severity"] in ("info", "warning", "critical")


def test_grafanas_sidecar_finds_the_dashboards() -> None:
    found = of(base(), "ConfigMap")["homeostat-dashboards"]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert {name: text.encode() for name, text in found["data"].items()} == grafana.files()
