"""What roll-out knows of a canary on a cluster: KServe's word and Prometheus' figures, in both modes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from homeostat.eventing.errors import Retry
from homeostat.functions.canary import CanaryFacts
from homeostat.functions.detector import Canary, Cause, Detector, Revision, Status
from homeostat.functions.spec import Data, Spec
from homeostat.infra.cluster.figures import canary_facts
from homeostat.infra.cluster.inference_service import Desired, Options, merged, whole
from homeostat.infra.cluster.kserve import step
from homeostat.models.artifact import save
from tests.cluster.answers import Refused
from tests.cluster.api_server import ApiServer
from tests.cluster.callers import objects
from tests.cluster.kserve_controller import Controller
from tests.cluster.predicting import predicting
from tests.cluster.scraped import eventually, prometheus
from tests.models.predictors import detector as fitted

NOW = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
CAUSE = Cause(id="c", correlationid="c")
NOWHERE = "http://127.0.0.1:9"
OLD, NEW = (
    Revision(name=f"pump-{name}", uri=f"s3://models/{name}", algorithm="forest", version="1")
    for name in ("old", "new")
)
MODES = pytest.mark.parametrize(
    "options", [Options("knative"), Options("standard")], ids=lambda one: one.mode
)
BODY = {"instances": [[0.1, -0.2], [25.0, 25.0], [25.0, 25.0]]}


def on_trial(canary: Revision | None = NEW) -> Detector:
    begun = NOW - timedelta(minutes=2)
    trial = canary and Canary(revision=canary, percent=5, started=begun, step_started=begun, cause=CAUSE)
    spec = Spec(data=Data(uri="s3://plant/pump/", channels=("a",)))
    return Detector(name="pump", spec=spec, status=Status(serving=OLD, canary=trial), now=NOW, cause=CAUSE)


def serve(server: ApiServer, options: Options, controller: Controller) -> dict[str, Any]:
    """The InferenceService of `on_trial`, as it is after its controller has looked some times."""
    desired, now = Desired("pump", OLD, NEW, 5), None
    owner = {"apiVersion": "homeostat.dev/v1alpha1", "kind": "Detector", "name": "pump", "uid": "u"}
    for _ in range(6):
        change = step(desired, now, options).document
        if change is not None:
            now = merged(now, change) if now else whole(desired, change, options, owner)
        now = controller.look(now or {})
    assert now is not None
    now["metadata"]["namespace"] = "homeostat"
    server.put(now)
    return dict(now)


def facts(
    server: ApiServer, options: Options, url: str = NOWHERE, detector: Detector | None = None
) -> CanaryFacts | None:
    api = objects(server, "roll-out")
    return asyncio.run(canary_facts(detector or on_trial(), api, options, url))


@MODES
def test_a_canary_is_ready_by_kserve_alone_and_has_no_figures_while_prometheus_is_away(
    server: ApiServer, options: Options
) -> None:
    assert facts(server, options) == CanaryFacts(ready=False, copies=False)
    serve(server, options, Controller(lambda uri: uri == OLD.uri))
    assert facts(server, options) == CanaryFacts(ready=False, copies=False)
    serve(server, options, Controller())
    assert facts(server, options) == CanaryFacts(ready=True, copies=False)
    assert facts(server, options, detector=on_trial(None)) is None


def test_an_artifact_that_is_refused_is_told_in_kserves_words(server: ApiServer) -> None:
    service = serve(server, Options("knative"), Controller(lambda uri: uri == OLD.uri))
    service["status"]["modelStatus"] = {
        "transitionStatus": "BlockedByFailedLoad",
        "lastFailureInfo": {"reason": "ModelLoadFailed", "message": "its digest is another"},
        "states": {"activeModelState": "Loaded", "targetModelState": "FailedToLoad"},
    }
    server.put(service)
    found = facts(server, Options("knative"))
    assert found == CanaryFacts(ready=False, refused="ModelLoadFailed: its digest is another", copies=False)


def test_an_api_server_that_is_away_is_asked_again_later(server: ApiServer) -> None:
    serve(server, Options("knative"), Controller())
    server.troubles += [Refused(503, "ServiceUnavailable", "away")] * 4
    with pytest.raises(Retry, match=r"cannot get inferenceservices\..* pump in homeostat: 503"):
        facts(server, Options("knative"))


# --- with predictors ---------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def predictors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[httpx.Client]]:
    """OLD's and NEW's pods, each named by its InferenceService and by nothing else."""
    folder = tmp_path_factory.mktemp("models") / "models"
    save(fitted(), folder, {"version": "1"})
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(predicting(folder, one)) for one in (OLD, NEW)]


@pytest.fixture(scope="module")
def prom_url(predictors: list[httpx.Client], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prometheus(tmp_path_factory.mktemp("prometheus")) as found:
        found.scrape(*(f"127.0.0.1:{one.base_url.port}" for one in predictors))
        yield found.url


def told(server: ApiServer, options: Options, url: str) -> list[dict[str, int]] | None:
    """The stable revision's figures and the canary's; None while one of them has none."""
    found = facts(server, options, url)
    assert found is not None
    assert (found.ready, found.restarts) == (True, 0)
    sides = [one for one in (found.stable, found.canary) if one]
    assert all(sum(one.latency) == one.requests and len(one.latency) == 13 for one in sides)
    assert all(sum(one.scores) == one.rows and len(one.scores) == 18 for one in sides)
    told = [one.model_dump(exclude={"latency", "scores"}) for one in sides]
    return told if len(told) == 2 else None


@MODES
def test_a_prometheus_that_scrapes_predictors_tells_what_each_revision_answered(
    server: ApiServer, predictors: list[httpx.Client], prom_url: str, options: Options
) -> None:
    serve(server, options, Controller())
    eventually(lambda: told(server, options, prom_url) is not None, True)
    wanted = told(server, options, prom_url)
    assert wanted is not None
    for side, client, count in zip(wanted, predictors, (12, 3), strict=True):
        for _ in range(count):
            answer = client.post("/v1/models/pump:predict", json=BODY).json()
            side["requests"] += 1
            side["rows"] += 3
            side["anomalies"] += sum(one["anomaly"] for one in answer["predictions"])
        assert client.post("/v1/models/pump:predict", json={"instances": []}).status_code == 400
        side["requests"] += 1
    assert wanted[0]["anomalies"] > 0
    eventually(lambda: told(server, options, prom_url), wanted)
