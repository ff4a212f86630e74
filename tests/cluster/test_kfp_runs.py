"""Training runs on Kubeflow Pipelines' API: uploaded once, started once, whatever is redelivered or lost."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kfp_server_api
import pytest
import yaml
from starlette.responses import Response

from homeostat.eventing.errors import Retry
from homeostat.eventing.messages import StartTraining
from homeostat.functions.detector import Cause, Detector, Run, Status
from homeostat.functions.spec import Spec
from homeostat.infra.cluster.access import token_in
from homeostat.infra.cluster.executors import EXECUTORS, Cluster
from homeostat.infra.cluster.inference_service import Options
from homeostat.infra.cluster.kfp_runs import Places, Runs
from tests.cluster.callers import PATIENCE
from tests.cluster.pipelines_server import API, Pipelines, error, serving_pipelines

COMPILED = Path(__file__).parents[2] / "pipelines" / "compiled" / "training.yaml"
PLACES = Places("s3://homeostat/models", "http://mlflow:5000", "http://broker", service_account="runner")
SPEC = Spec.model_validate({"data": {"uri": "s3://plant/pump/", "channels": ["a"]}})
CAUSE = Cause(id="cause", correlationid="c")
COMMAND = StartTraining(
    run="pump-0a1b2c",
    detector="pump",
    data=("s3://plant/pump/a.csv",),
    candidates=("isolation-forest",),
    parameters={"isolation-forest": {"trees": 50}},
    champion=None,
)


@pytest.fixture
def server() -> Iterator[Pipelines]:
    with serving_pipelines(Pipelines()) as running:
        yield running


def runs(server: Pipelines, pipeline: Path = COMPILED, places: Places = PLACES) -> Runs:
    return Runs(server.url, pipeline, places, token=lambda: server.token, patience=PATIENCE)


def test_a_run_is_called_by_its_event_and_told_all_that_the_pipeline_asks_for(server: Pipelines) -> None:
    runs(server).submit(COMMAND, SPEC, CAUSE)
    (run,) = server.stored["runs"]
    assert (run["display_name"], run["service_account"]) == ("pump-0a1b2c", "runner")
    asked = yaml.safe_load(COMPILED.read_text())["root"]["inputDefinitions"]["parameters"]
    needed = {name for name, one in asked.items() if not one.get("isOptional")}
    given = run["runtime_config"]["parameters"]
    assert needed <= set(given) <= set(asked)
    kinds = {"STRING": str, "LIST": list, "NUMBER_INTEGER": int}
    assert all(isinstance(value, kinds[asked[name]["parameterType"]]) for name, value in given.items())
    assert Spec.model_validate(json.loads(given["spec"])) == SPEC
    assert json.loads(given["cause"])["id"] == "cause"


def test_the_pipeline_is_compiled_with_the_cache_off() -> None:
    """A cached retrain is a no-op (field notes 19); a run by version takes what was compiled."""
    assert "enableCache" not in COMPILED.read_text()


def test_a_redelivery_finds_its_run_in_this_process_and_in_another(server: Pipelines) -> None:
    first = runs(server)
    assert first.submit(COMMAND, SPEC, CAUSE) == first.submit(COMMAND, SPEC, CAUSE)
    runs(server).submit(COMMAND, SPEC, CAUSE)
    assert server.runs() == [("pump-0a1b2c", "PENDING")]


def test_a_content_is_uploaded_once_and_another_content_beside_it(server: Pipelines, tmp_path: Path) -> None:
    for _ in range(2):
        runs(server).submit(COMMAND, SPEC, CAUSE)
    assert len(server.stored["pipelines"]) == len(server.stored["experiments"]) == 1
    (version,) = server.stored["pipeline_versions"]
    assert version["size"] == COMPILED.stat().st_size
    changed = tmp_path / "training.yaml"
    shutil.copy(COMPILED, changed)
    changed.write_text(changed.read_text() + "\n")
    runs(server, changed).submit(COMMAND, SPEC, CAUSE)
    assert len(server.stored["pipeline_versions"]) == 2
    assert len(server.runs()) == 1


def test_an_answer_that_is_lost_leaves_one_run_at_work(server: Pipelines) -> None:
    server.lost = 1
    runs(server).submit(COMMAND, SPEC, CAUSE)
    assert server.runs() == [("pump-0a1b2c", "PENDING"), ("pump-0a1b2c", "CANCELING")]
    assert runs(server).state("pump-0a1b2c") == "PENDING"


def test_replicas_that_start_it_at_the_same_moment_leave_one_at_work(server: Pipelines) -> None:
    replicas = [runs(server) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(lambda one: one.submit(COMMAND, SPEC, CAUSE), replicas))
    at_work = [one["run_id"] for one in server.stored["runs"] if one["state"] == "PENDING"]
    assert len(at_work) == 1
    assert set(at_work) <= ids


def test_a_twin_that_looked_too_early_is_ended_by_the_one_that_came_after(server: Pipelines) -> None:
    """Both were created within a second, the second one's id before the first one's."""
    runs(server).submit(COMMAND, SPEC, CAUSE)
    (run,) = server.stored["runs"]
    server.stored["runs"].append({**run, "run_id": "runs--1"})
    assert runs(server).submit(COMMAND, SPEC, CAUSE) == "runs--1"
    assert [one["state"] for one in server.stored["runs"]] == ["CANCELING", "PENDING"]


@pytest.mark.parametrize("code", [429, 500, 503, 504])
def test_what_passes_is_tried_again(server: Pipelines, code: int) -> None:
    server.troubles += [code, code]
    runs(server).submit(COMMAND, SPEC, CAUSE)
    assert len(server.runs()) == 1


def test_a_missing_right_names_verb_resource_and_run(server: Pipelines) -> None:
    known = runs(server)
    known.submit(COMMAND, SPEC, CAUSE)
    server.troubles += [403]
    with pytest.raises(Retry, match=r"cannot list runs\.pipelines\.kubeflow\.org pump-0a1b2c.*the verb list"):
        known.submit(COMMAND, SPEC, CAUSE)


def test_an_upload_that_is_refused_waits_for_its_mend_and_loses_no_event() -> None:
    class Refusing(Pipelines):
        async def uploaded(self, *_: Any) -> Response:
            return error(400, "Failed to create a pipeline")

    with (
        serving_pipelines(Refusing()) as refusing,
        pytest.raises(Retry, match=r"grant the verb create on pipelines\.pipelines\.kubeflow\.org"),
    ):
        runs(refusing).submit(COMMAND, SPEC, CAUSE)


def test_a_token_is_read_anew_for_each_call(server: Pipelines, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("t\n")
    kept = Runs(server.url, COMPILED, PLACES, token=token_in(file), patience=PATIENCE)
    kept.submit(COMMAND, SPEC, CAUSE)
    server.token = "renewed"
    with pytest.raises(Retry, match="renewed by the kubelet"):
        kept.state("pump-0a1b2c")
    file.write_text("renewed")
    assert kept.state("pump-0a1b2c") == "PENDING"


def test_what_somebody_deleted_is_uploaded_again(server: Pipelines) -> None:
    kept = runs(server)
    kept.submit(COMMAND, SPEC, CAUSE)
    for some in server.stored.values():
        some.clear()
    other = Cause(id="other", correlationid="c")
    real = server.add

    def gone(kind: str, document: dict[str, Any]) -> dict[str, Any]:
        if kind == "runs" and not server.stored["pipelines"]:
            raise RuntimeError("no such pipeline")
        return real(kind, document)

    server.add = gone  # type: ignore[method-assign]
    with pytest.raises(Retry):
        kept.submit(COMMAND, SPEC, other)
    kept.submit(COMMAND, SPEC, other)
    assert len(server.stored["pipelines"]) == len(server.runs()) == 1


def test_the_command_carries_the_cause_of_its_run_and_not_of_the_event_that_repeats_it(
    server: Pipelines,
) -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    run = Run(name=COMMAND.run, started=now, reason="drift", cause=CAUSE)
    later = Cause(id="later", correlationid="c")
    detector = Detector(name="pump", spec=SPEC, status=Status(run=run), now=now, cause=later)
    cluster = Cluster(None, None, Options("knative"), runs(server))  # type: ignore[arg-type]
    asyncio.run(EXECUTORS[StartTraining](COMMAND, detector, cluster))
    assert json.loads(server.stored["runs"][0]["runtime_config"]["parameters"]["cause"])["id"] == "cause"


def test_every_path_is_one_of_the_real_clients(server: Pipelines) -> None:
    """The API server of the tests was written by us; kfp's own client was not."""
    server.lost = 1
    runs(server).submit(COMMAND, SPEC, CAUSE)
    source = "".join(
        inspect.getsource(one)
        for one in (
            kfp_server_api.PipelineServiceApi,
            kfp_server_api.PipelineUploadServiceApi,
            kfp_server_api.ExperimentServiceApi,
            kfp_server_api.RunServiceApi,
        )
    )
    real = {
        (method, re.sub(r"\{[^}]*\}", "*", path))
        for path, method in re.findall(rf"'({API}[^']*)', '(\w+)'", source)
    }
    used = {(method, re.sub(r"/(runs|pipelines)/\1-\d+", r"/\1/*", path)) for method, path in server.calls}
    assert used <= real
    assert ("POST", f"{API}/runs/*:terminate") in used
