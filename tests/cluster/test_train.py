"""What a TrainJob's pod runs: the real process, the whole pipeline on little data, a broker that listens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from homeostat.eventing import codec
from homeostat.eventing.messages import TrainingCompleted, TrainingFailed
from homeostat.eventing.wire import WireEvent, decode
from homeostat.functions.detector import Cause
from homeostat.infra.cluster.train import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_UNTOLD, arguments
from homeostat.infra.cluster.train_jobs import COMMAND
from homeostat.infra.training_request import requested
from tests.cluster.ports import on_a_port
from tests.cluster.rendered import base, of
from tests.infra.test_runs import command, spec

CAUSE = Cause(id="cause-1", correlationid="first", hops=2)


class Broker:
    """Keeps what is posted; answers `refusal` instead while that is set."""

    def __init__(self) -> None:
        self.url, self.refusal = "", 0
        self.events: list[WireEvent] = []

    async def take(self, request: Request) -> Response:
        if self.refusal:
            return Response(status_code=self.refusal)
        self.events.append(decode(request.headers.items(), await request.body()))
        return Response(status_code=202)


@pytest.fixture
def broker() -> Iterator[Broker]:
    found = Broker()
    with on_a_port(Starlette(routes=[Route("/", found.take, methods=["POST"])])) as found.url:
        yield found


class Pod:
    """The TrainJob's command with a folder for its /tmp."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        self.folder, self.broker = folder, broker
        self.tmp = folder / "tmp"
        self.tmp.mkdir()

    @contextlib.contextmanager
    def started(self, drop: str | None = None, **retrain: Any) -> Iterator[subprocess.Popen[str]]:
        chosen = command(self.folder, "pump-1", drop=drop)
        places = {
            "models_root": str(self.folder / "models"),
            "tracking_uri": f"sqlite:///{self.folder / 'mlflow.db'}",
            "sink": self.broker.url,
        }
        request = requested(chosen, spec(self.folder, **retrain), CAUSE) | places
        _, *rest = COMMAND
        pod = subprocess.Popen(
            [sys.executable, *rest, *arguments(request)],
            env={**os.environ, "TMPDIR": str(self.tmp), "HOME": str(self.tmp), "OMP_NUM_THREADS": "2"},
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield pod
        finally:
            pod.kill()
            pod.communicate()

    def run(self, **asked: Any) -> tuple[int, str]:
        """Its exit code, and what `kubectl logs` would show."""
        with self.started(**asked) as pod:
            output, _ = pod.communicate(timeout=120)
            return pod.returncode, output

    def at_work(self) -> list[psutil.Process]:
        """Whatever still runs for it: all of that has its folder on its command line."""
        found = []
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if one.pid != os.getpid() and str(self.tmp) in " ".join(one.cmdline()):
                    found.append(one)
        return found

    def log(self) -> str:
        file = self.tmp / "homeostat-pump-1" / "log"
        return file.read_text() if file.exists() else ""


@pytest.fixture
def pod(tmp_path: Path, broker: Broker) -> Pod:
    return Pod(tmp_path, broker)


def until(true: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_run_trains_and_tells_its_end_citing_its_cause(pod: Pod, broker: Broker) -> None:
    code, output = pod.run()
    assert code == 0, output
    (told,) = broker.events
    data = orjson.loads(told.data or b"{}")
    assert told.attributes["type"] == TrainingCompleted.type
    assert (told.attributes["causationid"], told.attributes["correlationid"]) == ("cause-1", "first")
    assert told.attributes["id"] == codec.identity("cause-1", "training", "pump", 0)
    assert (data["run"], data["rows"]) == ("pump-1", 1500)
    assert (Path(data["uri"]) / "manifest.json").is_file()
    assert "announce-completed" in output, "kubectl logs shows how far it is"


def test_a_run_that_fails_tells_the_step_and_the_reason_and_ends_its_job(pod: Pod, broker: Broker) -> None:
    code, output = pod.run(drop="Pressure")
    assert code == EXIT_FAILED, output
    (told,) = broker.events
    data = orjson.loads(told.data or b"{}")
    assert told.attributes["type"] == TrainingFailed.type
    assert told.attributes["causationid"] == "cause-1"
    assert (data["run"], data["step"]) == ("pump-1", "ingest")
    assert "Pressure" in data["error"]


def test_a_failure_that_nobody_took_makes_the_job_begin_anew(pod: Pod, broker: Broker) -> None:
    broker.refusal = 401
    code, output = pod.run(drop="Pressure")
    assert code == EXIT_UNTOLD, output
    assert "does not take it" in output


def test_a_run_that_takes_too_long_is_ended_and_told(pod: Pod, broker: Broker) -> None:
    assert pod.run(timeout="1s")[0] == EXIT_FAILED
    assert "spec.retrain.timeout" in orjson.loads(broker.events[0].data or b"{}")["error"]
    until(lambda: not pod.at_work(), 5)


def test_a_pod_that_is_drained_tells_nothing_and_leaves_nothing_at_work(pod: Pod, broker: Broker) -> None:
    with pod.started() as process:
        until(lambda: "Executing task" in pod.log())
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == EXIT_INTERRUPTED
    until(lambda: not pod.at_work(), 5)
    assert broker.events == []


def test_a_run_that_is_killed_for_its_memory_is_told_as_a_failure(pod: Pod, broker: Broker) -> None:
    with pod.started() as process:
        until(lambda: "Executing task" in pod.log())
        (child,) = psutil.Process(process.pid).children()
        child.kill()
        assert process.wait(60) == EXIT_FAILED
    assert "-9" in orjson.loads(broker.events[0].data or b"{}")["error"]


def test_the_runtime_ends_the_job_at_the_code_that_says_so_and_at_no_other() -> None:
    (group,) = of(base(), "ClusterTrainingRuntime")["homeostat"]["spec"]["template"]["spec"]["replicatedJobs"]
    job = group["template"]["spec"]
    (ending,) = [one for one in job["podFailurePolicy"]["rules"] if one["action"] == "FailJob"]
    assert ending["onExitCodes"]["values"] == [EXIT_FAILED]
    containers = {one["name"] for one in job["template"]["spec"]["containers"]}
    assert ending["onExitCodes"]["containerName"] in containers
    assert job["backoffLimit"] > 0
    # Kubernetes takes a podFailurePolicy with no other.
    assert job["template"]["spec"]["restartPolicy"] == "Never"
