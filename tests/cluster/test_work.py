"""How the work in flight stands, asked of the engines' own APIs: on ticks, and only of what is in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kfp_server_api
import pytest

from homeostat.eventing.codec import Context
from homeostat.eventing.errors import Retry
from homeostat.eventing.messages import CanaryTick, TrainingRequested
from homeostat.functions.detector import Cause, Detector, Run, Status, Tuning
from homeostat.functions.spec import Spec
from homeostat.functions.work import WorkFacts
from homeostat.infra.cluster import kfp_runs
from homeostat.infra.cluster.detectors import DetectorObjects
from homeostat.infra.cluster.errors import Patience
from homeostat.infra.cluster.experiments import Experiments
from homeostat.infra.cluster.work import STATES, watch
from tests.cluster.answers import Refused
from tests.cluster.api_server import ApiServer
from tests.cluster.callers import objects
from tests.cluster.pipelines_server import Pipelines, serving_pipelines

NOW = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
CAUSE = Cause(id="c", correlationid="c")
CONTEXT = Context(id="t", source="/t", type=CanaryTick.type, subject=None, correlationid="t")
RUN = Run(name="pump-1", started=NOW, reason="rows", cause=CAUSE)
TUNING = Tuning(name="pump-tune-1", algorithm="gan", started=NOW, reason="drift", cause=CAUSE)


def detector(**status: Any) -> Detector:
    asked = Spec.model_validate({"data": {"uri": "s3://d/", "channels": ["a"]}})
    return Detector(name="pump", spec=asked, status=Status(**status), now=NOW, cause=CAUSE)


def seen(runs: Any, searches: Any, event: Any = None, **status: Any) -> WorkFacts | None:
    found: WorkFacts | None = asyncio.run(
        watch(runs, searches)(event or CanaryTick(), CONTEXT, detector(**status))
    )
    return found


@pytest.fixture
def pipelines() -> Iterator[Pipelines]:
    with serving_pipelines(Pipelines()) as server:
        yield server


@pytest.fixture
def runs(pipelines: Pipelines, tmp_path: Path) -> Iterator[kfp_runs.Runs]:
    file = tmp_path / "training.yaml"
    file.write_text("the pipeline")
    found = kfp_runs.Runs(
        pipelines.url,
        file,
        kfp_runs.Places("s3://models", "http://mlflow", "http://broker"),
        token=lambda: pipelines.token,
        patience=Patience(sleep=lambda _: None),
    )
    yield found
    found.close()


@pytest.fixture
def searches(server: ApiServer) -> Experiments:
    api = objects(server, "plan-retraining")
    return Experiments(api, DetectorObjects(api).owner)


def stored(pipelines: Pipelines, runs: kfp_runs.Runs, state: str) -> None:
    runs.state("anything")  # so that its experiment is there
    experiment = pipelines.stored["experiments"][0]["experiment_id"]
    pipelines.add("runs", {"display_name": "pump-1", "experiment_id": experiment, "state": state})


@pytest.mark.parametrize(
    ("said", "state"),
    [("RUNNING", "running"), ("CANCELED", "failed"), ("SKIPPED", "failed"), ("SUCCEEDED", "succeeded")],
)
def test_a_run_stands_as_pipelines_say(pipelines: Pipelines, runs: Any, said: str, state: Any) -> None:
    stored(pipelines, runs, said)
    assert seen(runs, None, run=RUN) == WorkFacts("pump-1", state, said)


def test_every_word_of_pipelines_has_its_meaning() -> None:
    words = {
        value
        for name, value in vars(kfp_server_api.V2beta1RuntimeState).items()
        if name.isupper() and isinstance(value, str)
    }
    assert words - set(STATES) == {"RUNTIME_STATE_UNSPECIFIED"}


def test_a_run_that_pipelines_do_not_know_is_gone(runs: Any) -> None:
    assert seen(runs, None, run=RUN) == WorkFacts("pump-1", "gone")


def test_pipelines_that_do_not_answer_say_nothing(pipelines: Pipelines, runs: Any) -> None:
    pipelines.troubles += [503] * 4
    found = seen(runs, None, run=RUN)
    assert found is not None
    assert (found.name, found.state) == ("pump-1", None)
    assert "503" in found.detail


def test_a_search_stands_as_katib_says(server: ApiServer, searches: Experiments) -> None:
    assert seen(None, searches, tuning=TUNING) == WorkFacts("pump-tune-1", "gone")
    failed = {"type": "Failed", "status": "True", "reason": "ExperimentFailed", "message": "has failed"}
    head = {"apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment"}
    metadata = {"name": "pump-tune-1", "namespace": "homeostat"}
    server.put({**head, "metadata": metadata, "spec": {}})
    assert seen(None, searches, tuning=TUNING) == WorkFacts("pump-tune-1", "running", "Running")
    server.put({**head, "metadata": metadata, "spec": {}, "status": {"conditions": [failed]}})
    assert seen(None, searches, tuning=TUNING) == WorkFacts(
        "pump-tune-1", "failed", "ExperimentFailed: has failed"
    )


def test_an_api_server_that_is_away_says_nothing(server: ApiServer, searches: Experiments) -> None:
    server.troubles += [Refused(500, "InternalError", "etcd is away") for _ in range(4)]
    found = seen(None, searches, tuning=TUNING)
    assert found is not None
    assert found.state is None


def test_without_katib_a_search_is_gone_and_it_is_said_why() -> None:
    assert seen(None, None, tuning=TUNING) == WorkFacts("pump-tune-1", "gone", "this cluster has no Katib")


class Untouched:
    """An engine that must not be asked."""

    def state(self, name: str) -> Any:
        raise Retry(f"{name} was asked for", after=1)


@pytest.mark.parametrize("status", [{}, {"run": RUN}, {"tuning": TUNING}])
def test_nothing_is_asked_but_on_a_tick(status: dict[str, Any]) -> None:
    assert seen(Untouched(), Untouched(), TrainingRequested(), **status) is None
    assert status or seen(Untouched(), Untouched(), **status) is None
