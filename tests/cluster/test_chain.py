"""The loop, whole, on a cluster: each function under its own ServiceAccount's token and Role, whoever else is
there played by what writes statuses as the real ones do. Against either API server."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from homeostat.functions.detect_drift import DriftFacts, DriftVerdict
from tests.cluster.callers import Server
from tests.cluster.players import artifact, complete, detector, infer, land, started, tick
from tests.cluster.town import Town, town


@pytest.fixture(params=["knative", "standard"])
def running(
    cluster: Server, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Town]:
    cluster.remove("Detector", "pump")
    with town(cluster, tmp_path, monkeypatch, request.param) as found:
        yield found


def serve(found: Town) -> str:
    """From the Detector to its first revision, which serves alone."""
    found.apply(detector(found))
    land(found, "first.csv")
    name = started(found)
    complete(found, name)
    try_out(found, name)
    found.until(lambda: (found.status()["serving"] or {}).get("name") == name)
    found.until(lambda: found.serving.traffic == {artifact(found, name): 100})
    return name


def at(found: Town, percent: int) -> bool:
    return bool((found.status()["canary"] or {}).get("percent") == percent)


def try_out(found: Town, name: str, stable: str | None = None, errors: int = 0) -> None:
    """One step of a canary: it is seen ready, gets traffic, and is judged."""
    found.until(lambda: (found.status().get("canary") or {}).get("revision", {}).get("name") == name)
    percent = found.status()["canary"]["percent"]
    found.until(lambda: found.serving.traffic.get(artifact(found, name)) == percent)
    for one in filter(None, (name, stable)):
        found.prometheus.traffic(one, requests=0)
    tick(found)
    found.until(lambda: (found.status()["canary"] or {}).get("base_canary"))
    for one in filter(None, (name, stable)):
        found.prometheus.traffic(one, errors=errors if one == name else 0)
    found.clock.later(seconds=61)
    tick(found)
    found.until(lambda: (found.status()["canary"] or {}).get("percent") != percent)


def test_from_data_to_a_model_that_serves_to_drift_and_a_rollback(running: Town) -> None:
    first = serve(running)
    assert running.condition("RolledOut") == ("True", "Promoted")

    land(running, "second.csv")
    second = started(running, first)
    complete(running, second)
    for percent in (20, 50):
        running.until(partial(at, running, percent))
        try_out(running, second, first)
    running.until(lambda: running.status()["serving"]["name"] == second)
    running.until(lambda: running.serving.traffic == {artifact(running, second): 100})

    running.clock.later(minutes=5)
    land(running, "third.csv", rows=60)
    running.until(lambda: running.status()["new_rows"] == 60)
    verdict = DriftVerdict(
        test="mmd", statistic=0.9, threshold=0.1, p_value=0.001, drifted=True, channels=("a",)
    )
    running.eyes[DriftFacts] = DriftFacts(second, 500, (verdict,))
    infer(running)
    third = started(running, second)
    complete(running, third)
    try_out(running, third, second, errors=100)
    running.until(lambda: running.condition("RolledOut") == ("False", "RolledBack"))
    running.until(lambda: running.serving.traffic == {artifact(running, second): 100})

    status = running.status()
    assert (status["serving"]["name"], status["canary"], status["run"]) == (second, None, None)
    assert status["phase"] == "Serving"
    assert running.condition("Ready") == ("True", "Serving")
    assert running.condition("Trained") == ("True", "RunCompleted")
    told = [one for one in running.types() if not one.startswith(("dev.knative", "org."))]
    assert "canary.judged" in told
    assert [one for one in told if one != "canary.judged"] == [
        *("data.landed", "training.requested", "training.completed", "eval.passed"),
        *("canary.started", "model.promoted"),
        *("data.landed", "training.requested", "training.completed", "eval.passed"),
        *("canary.started", "canary.advanced", "model.promoted"),
        *("data.landed", "drift.detected", "training.completed", "eval.passed"),
        *("canary.started", "canary.rolledback"),
    ]
    assert not [one for one in running.server.calls if one.code == 403]
