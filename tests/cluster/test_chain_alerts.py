"""Alerts on a cluster: Alertmanager's webhook at the gateway, and what the Detector's map makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from homeostat.infra.cluster.place import OnCluster
from tests.cluster.callers import NAMESPACE, Server
from tests.cluster.players import artifact, complete, detector, land, started, tick
from tests.cluster.test_chain import at, try_out
from tests.cluster.town import Town, town

RULES = [
    {"match": {"alertname": "HomeostatAnomalyRateShift"}, "action": "retrain"},
    {"match": {"severity": "critical"}, "action": "rollback"},
]


@pytest.fixture(params=["knative", "standard"])
def running(
    cluster: Server, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Town]:
    cluster.remove("Detector", "pump")
    with town(cluster, tmp_path, monkeypatch, request.param) as found:
        yield found


def serve(found: Town) -> str:
    """A Detector with a map of alerts, and its first revision, which serves alone."""
    found.apply(detector(found, alerts=RULES))
    land(found, "first.csv")
    name = started(found)
    complete(found, name)
    try_out(found, name)
    found.until(lambda: found.serving.traffic == {artifact(found, name): 100})
    found.clock.later(minutes=5)
    return name


def call(found: Town, labels: Mapping[str, str], start: datetime, end: datetime | None = None) -> None:
    """Alertmanager calls the gateway, as it does of a group of one."""
    alert: dict[str, Any] = {
        "status": "resolved" if end else "firing",
        "labels": {"detector": "pump", **labels},
        "annotations": {},
        "startsAt": start.isoformat(),
        "endsAt": end.isoformat() if end else "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": f"of-{labels['alertname']}",
    }
    group = {"version": "4", "groupKey": "{}:{}", "receiver": "homeostat", "alerts": [alert]}
    answer = httpx.post(f"{found.gateway}/gateway/alertmanager", json=group)
    assert answer.is_success, answer.text


def incidents(found: Town) -> list[str]:
    return [one["action"] for one in found.status()["incidents"]]


def test_an_alert_at_the_gateway_trains_and_its_end_closes_the_incident(running: Town) -> None:
    first, fired = serve(running), running.clock()
    shift = {"alertname": "HomeostatAnomalyRateShift", "revision": first}
    land(running, "second.csv", rows=60)
    running.until(lambda: running.status()["new_rows"] == 60)
    for _ in range(2):  # its peer
        call(running, shift, fired)
    second = started(running, first)
    assert running.status()["run"]["trigger"] == "alert"
    assert incidents(running) == ["retrain"]
    complete(running, second)
    for percent in (20, 50):
        running.until(partial(at, running, percent))
        try_out(running, second, first)
    running.until(lambda: running.serving.traffic == {artifact(running, second): 100})
    call(running, shift, fired, fired + timedelta(seconds=30))
    running.until(lambda: incidents(running) == [])
    assert running.status()["serving"]["trigger"] == "alert"
    with running.admin() as http:
        links = OnCluster(http, NAMESPACE).why("pump")
    assert [one.event.attributes["type"].removeprefix("dev.homeostat.") for one in links] == [
        *("alert.fired", "training.requested", "training.completed", "eval.passed", "model.promoted")
    ]
    assert running.types().count("training.requested") == 2, "one by rows, one by the alert"
    assert not [one for one in running.server.calls if one.code == 403]


def test_a_rollback_alert_during_a_canary_gives_all_traffic_back(running: Town) -> None:
    first = serve(running)
    land(running, "second.csv")
    second = started(running, first)
    complete(running, second)
    running.until(lambda: running.serving.traffic.get(artifact(running, second)) == 20)
    failing = {"alertname": "Failing", "severity": "critical", "revision": second}
    call(running, failing, running.clock())
    running.until(lambda: "canary.rolledback" in running.types())
    running.until(lambda: running.serving.traffic == {artifact(running, first): 100})
    tick(running)
    running.until(lambda: running.condition("RolledOut")[0] == "False")
    status = running.status()
    assert (status["serving"]["name"], status["canary"], incidents(running)) == (first, None, ["rollback"])
    asked = [one for one in running.events() if one.attributes["type"] == "dev.homeostat.rollback.requested"]
    assert [orjson.loads(one.data or b"")["revision"] for one in asked] == [second]
