"""A function as its pod serves it: what it is told, what it says when it is not, what it takes up again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.testclient import TestClient

from homeostat.eventing.messages import COMMANDS, StartCanary
from homeostat.functions import FUNCTIONS, observes
from homeostat.functions.detector import Canary, Cause, Revision
from homeostat.infra.cluster.host import finishing, function_host, served
from homeostat.infra.cluster.settings import read
from homeostat.infra.outcome import Outcome
from homeostat.infra.serve import GATEWAY, function_app
from tests.cluster.api_server import ApiServer
from tests.cluster.callers import NAMESPACE, eventually
from tests.cluster.test_settings import ENOUGH

NOW = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
CAUSE = Cause(id="c", correlationid="c")
SERVING = ("roll-out", "judge-candidate", "plan-retraining", "finish-tuning")


def said(environment: Mapping[str, str], function: str = "roll-out") -> tuple[int, str]:
    """Exit code and last words of a process that cannot serve."""
    command = [sys.executable, "-m", "homeostat.infra.serve", function, "--port", "0"]
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("HOMEOSTAT", "KUBE", "K_"))
    }
    done = subprocess.run(
        command, env={**kept, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stderr


def test_what_a_pod_is_not_told_it_names_all_at_once() -> None:
    code, words = said({"HOMEOSTAT_HOME": "cluster"})
    assert code == 2
    for name in ("K_SINK", "HOMEOSTAT_OBJECTS_URL", "HOMEOSTAT_PROMETHEUS_URL", "MLFLOW_TRACKING_URI"):
        assert name in words


def test_outside_a_pod_it_says_so() -> None:
    code, words = said({"HOMEOSTAT_HOME": "cluster", **ENOUGH})
    assert code == 2
    assert "this is no pod" in words


def test_a_home_or_a_level_that_there_is_not_is_refused_with_those_there_are() -> None:
    code, words = said({"HOMEOSTAT_HOME": "moon"})
    assert (code, "write local or cluster" in words) == (2, True)
    code, words = said({"HOMEOSTAT_HOME": "cluster", "HOMEOSTAT_LOG_LEVEL": "loud"})
    assert (code, "warning" in words) == (2, True)


@pytest.mark.parametrize("function", SERVING)
def test_a_function_has_hands_for_every_command_and_eyes_for_what_it_observes(
    function: str, server: ApiServer
) -> None:
    host = function_host(function, read(ENOUGH), server.http(server.token(NAMESPACE, function)))
    assert set(host.executors) == set(COMMANDS)
    facts = observes(FUNCTIONS[function])
    assert facts is None or facts in host.observers


def test_the_gateway_is_served_by_its_name(server: ApiServer) -> None:
    app = served(GATEWAY, read(ENOUGH), server.http(server.token(NAMESPACE, "gateway")))
    assert TestClient(app).get("/readyz").json() == {"function": "gateway", "status": "ok"}


def test_a_replica_that_starts_takes_up_what_another_did_not_carry_out(server: ApiServer) -> None:
    host = function_host("roll-out", read(ENOUGH), server.http(server.token(NAMESPACE, "roll-out")))
    revision = Revision(name="pump-1", uri="s3://homeostat/models/1", algorithm="forest", version="1")
    claimed(host, revision)
    assert server.get("InferenceService", "pump") is None
    with TestClient(function_app("roll-out", host, lifespan=finishing(host))):
        eventually(lambda: server.get("InferenceService", "pump") is not None)
    found = server.get("InferenceService", "pump") or {}
    assert found["spec"]["predictor"]["model"]["storageUri"] == revision.uri


def claimed(host: Any, revision: Revision) -> None:
    """As a replica leaves it that ends between its claim and its commands."""
    found = host.detectors.snapshot("pump", NOW, CAUSE)
    detector, version = found
    canary = Canary(revision=revision, percent=100, started=NOW, step_started=NOW, cause=CAUSE)
    status = detector.status.model_copy(update={"canary": canary})
    command = StartCanary(detector="pump", revision=revision.name, uri=revision.uri, percent=100)
    outcome = Outcome(detector.model_copy(update={"status": status}), [command], [])
    assert host.detectors.commit("pump", version, status, "/s e t roll-out", outcome)


def test_what_is_under_way_when_the_api_server_is_away_does_not_end_the_process(server: ApiServer) -> None:
    host = function_host("roll-out", read(ENOUGH), server.http("nobody's"))

    async def live() -> None:
        app = function_app("roll-out", host, lifespan=finishing(host))
        async with app.router.lifespan_context(app):
            await asyncio.sleep(0.1)

    asyncio.run(live())
