"""Least privilege, both ways: every right that a function uses is granted, and every right that is granted is
used. Each function does all that it ever does under its own ServiceAccount's token; what it called is read
from the API server's audit (a real one's log), and what Kubeflow Pipelines asked about it from its reviews.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from homeostat.functions.alarms import Alarm
from homeostat.functions.detect_drift import DriftFacts, DriftVerdict
from homeostat.functions.detector import Quality
from homeostat.functions.score_stream import StreamFacts
from homeostat.functions.take_label import QualityFacts
from homeostat.infra.serve import GATEWAY
from tests.cluster.api_server import ApiServer
from tests.cluster.audit import Right, granted, refused, used
from tests.cluster.callers import Server, eventually
from tests.cluster.pipelines_review import AUDIENCE
from tests.cluster.players import complete, detector, end_search, event, infer, land, searched, started, tick
from tests.cluster.rendered import overlay
from tests.cluster.test_chain import serve
from tests.cluster.town import Town, town

RUN = {"run": "r", "algorithm": "a", "uri": "s3://m", "version": "1"}
ALERT = {"alertname": "Hot", "fingerprint": "f1", "starts_at": "2026-11-24T13:00:00Z"}
LABEL = {"anomalous": True, "start": "2026-11-24T12:00:00Z", "end": "2026-11-24T13:00:00Z"}
UNKNOWN: Mapping[str, Any] = {
    "dev.homeostat.data.landed": {"uri": "s3://plant/nobody/a.csv"},
    "dev.homeostat.training.requested": {},
    "dev.homeostat.training.completed": {**RUN, "metrics": {}, "rows": 1, "fingerprint": "f"},
    "dev.homeostat.rollback.requested": {},
    "dev.homeostat.samples.received": {"rows": [[1.0]]},
    "dev.homeostat.alert.resolved": {**ALERT, "ends_at": "2026-11-24T14:00:00Z"},
    "dev.homeostat.label.received": LABEL,
    "org.kubeflow.serving.inference.request": {},
}
"""An event for each function that wakes on a Detector's own."""


# --- all that they do ------------------------------------------------------------------------------------
def said(found: Town, who: str = "plan-retraining") -> list[tuple[str, str, str, int]]:
    return found.server.said(who)


def ask_for_nobody(found: Town) -> None:
    """Of an unknown Detector every function says which there are."""
    for kind, data in UNKNOWN.items():
        found.post(event(kind, data, subject="nobody"))
    somebodys = {"kind": "Experiment", "metadata": {"labels": {"homeostat.dev/detector": "nobody"}}}
    found.post(event("dev.knative.apiserver.resource.update", somebodys, kind="Experiment"))


def train_and_serve(found: Town) -> str:
    """Kubeflow's first answer is lost: there are two of a run, and one is ended."""
    found.pipelines.lost = 1
    return serve(found)


def see_drift(found: Town, revision: str) -> None:
    verdict = DriftVerdict(test="mmd", statistic=0.1, threshold=0.5, p_value=0.5, drifted=False)
    found.eyes[DriftFacts] = DriftFacts(revision, 500, (verdict,))
    infer(found)
    found.until(lambda: found.status()["drift"]["revision"] == revision)


def raise_an_alarm(found: Town, revision: str) -> None:
    found.eyes[StreamFacts] = StreamFacts("", revision, 0.5, (Alarm(rows=1, score=0.9, row=0),))
    found.post(event("dev.homeostat.samples.received", {"rows": [[1.0, 2.0]]}, subject="pump"))
    found.until(lambda: "anomaly.detected" in found.types())


def hear_of_an_alert_and_of_a_label(found: Town, revision: str) -> None:
    found.post(event("dev.homeostat.alert.fired", ALERT, subject="pump"))
    found.until(lambda: found.status()["incidents"])
    found.eyes[QualityFacts] = QualityFacts({revision: Quality(caught=1, measured=found.clock())})
    found.post(event("dev.homeostat.label.received", LABEL, subject="pump"))
    found.until(lambda: found.status()["quality"])


def tune_and_train(found: Town, revision: str) -> None:
    found.clock.later(minutes=1)
    found.post(event("dev.homeostat.tuning.requested", {"force": True}, subject="pump"))
    if not found.settings.katib:
        found.until(lambda: found.status()["tuning"])
        tick(found)
        found.until(lambda: found.status()["tuning"]["missed"])
        found.clock.later(minutes=3)
        tick(found)
        found.until(lambda: "tuning.failed" in found.types())
        return
    experiment = searched(found)
    tick(found)  # how does it stand?
    found.until(lambda: ("get", "experiments", experiment["metadata"]["name"], 200) in said(found))
    end_search(found, experiment)
    started(found, revision)


def look_at_a_run(found: Town, revision: str) -> None:
    """A tick asks how the run in flight stands."""
    if not found.status()["run"]:
        found.post(event("dev.homeostat.training.requested", {"force": True}, subject="pump"))
    started(found, revision)
    tick(found)
    if not found.settings.pipelines_url:
        found.until(lambda: any(one[:2] == ("get", "trainjobs") for one in said(found)))


def begin_a_canary(found: Town, revision: str) -> None:
    """Beside what serves."""
    complete(found, started(found, revision))
    found.until(lambda: any(one[:2] == ("patch", "inferenceservices") for one in said(found, "roll-out")))


def announce_an_object(found: Town) -> None:
    """A store tells the gateway, which looks whose it is."""
    key = {"bucket": {"name": "plant"}, "object": {"key": "pump/a.csv", "size": 1, "eTag": "e"}}
    record = {"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": key}
    record |= {"eventTime": "2026-11-24T13:00:00.000Z", "awsRegion": "eu-central-1"}
    answer = httpx.post(f"{found.gateway}/gateway/storage/s3", json={"Records": [record]})
    assert answer.status_code == 202, answer.text


def everything(found: Town) -> None:
    ask_for_nobody(found)
    revision = train_and_serve(found)
    see_drift(found, revision)
    raise_an_alarm(found, revision)
    hear_of_an_alert_and_of_a_label(found, revision)
    tune_and_train(found, revision)
    look_at_a_run(found, revision)
    begin_a_canary(found, revision)
    announce_an_object(found)


# --- and what they may -----------------------------------------------------------------------------------
def asked_of_pipelines(found: Town, who: str) -> set[Right]:
    assert found.pipelines.reviewer is not None
    asked = found.pipelines.reviewer.asked
    assert all(one.allowed for one in asked), asked
    return {(one.verb, AUDIENCE, one.resource) for one in asked if one.who == who}


def unused(found: Town, roles: list[dict[str, Any]]) -> dict[str, set[Right]]:
    calls = found.server.calls
    left = {
        one: granted(roles, one) - used(calls, one) - asked_of_pipelines(found, one)
        for one in (*found.functions, GATEWAY)
    }
    return {one: rights for one, rights in left.items() if rights}


@pytest.mark.parametrize("name", ["dev", "minimal"])
def test_every_right_used_is_granted_and_every_right_granted_is_used(
    cluster: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    cluster.remove("Detector", "pump")
    with town(cluster, tmp_path, monkeypatch, name=name) as found:
        everything(found)
        roles = overlay(name)
        assert all(granted(roles, one) for one in (*found.functions, GATEWAY))
        # What was answered last is written down a moment later.
        with contextlib.suppress(AssertionError):
            eventually(lambda: not unused(found, roles), seconds=3)
        assert unused(found, roles) == {}
        assert {one: refused(found.server.calls, one) for one in (*found.functions, GATEWAY)} == {
            one: set() for one in (*found.functions, GATEWAY)
        }


def test_a_right_that_is_missing_is_found_out(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the audit would see it: without its right, judge-candidate is refused, and says so."""
    server.remove("Detector", "pump")
    with town(server, tmp_path, monkeypatch) as found:
        role = server.get("Role", "judge-candidate")
        assert role is not None
        server.put({**role, "rules": role["rules"][:1]})
        found.apply(detector(found))
        land(found, "first.csv")
        complete(found, started(found))
        eventually(lambda: bool(refused(server.calls, "judge-candidate")))
        assert refused(server.calls, "judge-candidate") == {("update", "homeostat.dev", "detectors/status")}
