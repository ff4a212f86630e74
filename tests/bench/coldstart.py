"""How long a function's process takes from its start to the first answered event over HTTP, and the processor
time and memory that this takes, beside an empty FastAPI app started just before in the same way.

Each function is as its pod serves it, with its own host: Detectors at an API server, runs at Kubeflow
Pipelines, both in the bench's process, which answer at once; its own start is meant. detect-drift loads numpy
before its first event and alibi-detect beside it; `loaded` is when that is there.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from homeostat.eventing import codec, messages, wire
from homeostat.functions.detector import Judging, Status, Tuning
from tests.cluster.api_server import ApiServer, serving
from tests.cluster.callers import NAMESPACE, detector, roles
from tests.cluster.pipelines_server import Pipelines, serving_pipelines
from tests.functions import detectors

PEER = f"an empty FastAPI {version('fastapi')} app on uvicorn {version('uvicorn')}"
ROUNDS = 5
MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class First:
    """The event that wakes a function, and the status in which it finds the Detector."""

    event: messages.Event
    status: Mapping[str, Any] = field(default_factory=dict)


DATA = Path(tempfile.gettempdir()) / "homeostat-coldstart"
TUNING = Tuning(
    name="pump-1",
    algorithm="isolation-forest",
    started=detectors.NOON,
    reason="drift",
    cause=detectors.cause(),
)
SEARCH: Mapping[str, Any] = {
    "apiVersion": "kubeflow.org/v1beta1",
    "kind": "Experiment",
    "metadata": {"name": TUNING.name, "labels": {"homeostat.dev/detector": "pump"}},
    "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "x", "message": "x"}]},
}
FIRST: Mapping[str, First] = {
    "receive-data": First(messages.DataLanded(uri=f"{DATA}/b.csv", etag="2")),
    "plan-retraining": First(
        messages.TrainingRequested(force=True), {"batches": (detectors.batch(rows=6000),), "new_rows": 6000}
    ),
    "judge-candidate": First(detectors.completed(), {"run": detectors.run()}),
    "roll-out": First(detectors.passed(), {"judging": Judging(run="r2", since=detectors.NOON)}),
    "finish-tuning": First(messages.ExperimentChanged(experiment=SEARCH), {"tuning": TUNING}),
}
"""What ends in an event at the sink, or in a command at an API."""
DRIFT, STREAM = "detect-drift", "score-stream"
SEEN = {
    DRIFT: First(messages.InferenceRequest(instances=[[1.0]])),
    STREAM: First(messages.SamplesReceived(rows=[[1.0]])),
}
"""Of functions that keep rows: the first event only begins a window."""


@dataclass(frozen=True)
class Start:
    """`cpu` is less shaken by what else the machine does than the time on the wall."""

    milliseconds: float
    cpu: float
    megabytes: float


SPEC: Mapping[str, Any] = {"data": {"uri": f"{DATA}/", "channels": ["a"]}, "retrain": {"min_new_rows": 1}}


@dataclass(frozen=True)
class Cluster:
    """What the functions reach, all of it in this process; `heard` is what came to the sink and the APIs."""

    api: ApiServer
    heard: list[str]
    environment: Mapping[str, str]

    def prepared(self, function: str, first: First) -> Mapping[str, str]:
        """With a new Detector in the status that the event finds; what the function's pod is told."""
        self.api.objects.clear()
        status = Status(**first.status).model_dump(mode="json")
        self.api.put(*roles(), {**detector("pump", **SPEC), "status": status})
        self.heard.clear()
        self.api.calls.clear()
        return {**self.environment, "BENCH_TOKEN": self.api.token(NAMESPACE, function)}

    def did(self, function: str) -> bool:
        """Whether it claimed something, and told the sink or an engine of it."""
        verbs = {(one.verb, one.resource) for one in self.api.calls if one.code == 200}
        told = bool(self.heard) or ("create", "inferenceservices") in verbs
        return ("update", "detectors/status") in verbs and told


def run() -> dict[str, dict[str, Any]]:
    pairs: dict[str, list[tuple[Start, Start]]] = {}
    with _cluster() as cluster:
        for _ in range(ROUNDS):
            for name, first in {**FIRST, **SEEN}.items():
                ours = _function(name, first, cluster)
                if name in FIRST and not cluster.did(name):
                    raise RuntimeError(f"{name} did nothing on its first event: {cluster.api.calls}")
                pairs.setdefault(name, []).append((_empty(first), ours))
        loaded = _function(DRIFT, SEEN[DRIFT], cluster, until_loaded=True)
    metrics: dict[str, dict[str, Any]] = {}
    for name, each in pairs.items():
        peers, functions = zip(*each, strict=True)
        metrics |= _metrics(name, _middle(functions), _middle(peers))
    return metrics | _metrics(f"{DRIFT} loaded", loaded, None)


def _middle(starts: Sequence[Start]) -> Start:
    return Start(*(median(figures) for figures in zip(*map(astuple, starts), strict=True)))


def _metrics(name: str, ours: Start, peer: Start | None) -> dict[str, dict[str, Any]]:
    from tests.bench.__main__ import Metric

    return {
        name: Metric(ours.milliseconds, peer.milliseconds if peer else None, "ms").document(),
        f"{name} cpu": Metric(ours.cpu, peer.cpu if peer else None, "ms").document(),
        f"{name} rss": Metric(ours.megabytes, peer.megabytes if peer else None, "MB").document(),
    }


def _empty(first: First) -> Start:
    return _started(first, {}, "tests.bench.coldstart_empty")


def _function(name: str, first: First, cluster: Cluster, until_loaded: bool = False) -> Start:
    environment = cluster.prepared(name, first)
    return _started(first, environment, "tests.bench.coldstart_function", name, until_loaded=until_loaded)


def _started(
    first: First, environment: Mapping[str, str], *command: str, until_loaded: bool = False
) -> Start:
    """Start a module, whose last argument is a free port, and send it the event until it answers."""
    event = codec.announce(
        first.event, id="e1", source="/bench", subject="pump", cause=detectors.cause(), now=detectors.NOON
    )
    headers, body = wire.encode(event)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    whole = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    begun = time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", *command, str(port)], env=whole) as process:
        try:
            _answered(process, port, body, dict(headers))
            took = time.perf_counter() - begun
            if until_loaded:
                took = _idle(process) - begun
            watched = psutil.Process(process.pid)
            cpu = sum(watched.cpu_times()[:2])
            return Start(took * 1e3, cpu * 1e3, watched.memory_info().rss / MEGABYTE)
        finally:
            process.kill()


def _answered(process: subprocess.Popen[bytes], port: int, body: bytes, headers: Mapping[str, str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            try:
                connection.request("POST", "/", body, dict(headers))
            except ConnectionRefusedError:
                time.sleep(0.002)
                continue
            answer = connection.getresponse()
            if answer.status not in (202, 503):  # a canary's revision has to load first: it comes again
                raise RuntimeError(f"{answer.status}: {answer.read()!r}")
            return
    raise RuntimeError("the process ended, or nothing answered for a minute")


def _idle(process: subprocess.Popen[bytes]) -> float:
    """When the process last worked: it is watched until it has done nothing for two seconds."""
    watched, worked = psutil.Process(process.pid), time.perf_counter()
    before = 0.0
    while time.perf_counter() - worked < 2:
        time.sleep(0.1)
        used = sum(watched.cpu_times()[:2])
        if used - before > 0.02:
            worked, before = time.perf_counter(), used
    return worked


@contextlib.contextmanager
def _cluster() -> Iterator[Cluster]:
    heard: list[str] = []
    engine = Pipelines(token="", calls=_Heard(heard))
    with (
        serving(ApiServer()) as api,
        serving_pipelines(engine) as pipelines,
        _sink(heard) as sink,
    ):
        rows = "".join(f"2026-03-01 12:00:{second:02d},1.0\n" for second in range(60))
        DATA.mkdir(exist_ok=True)
        (DATA / "b.csv").write_text(f"datetime,a\n{rows}")
        environment = {
            "K_SINK": sink,
            "BENCH_API": api.url,
            "HOMEOSTAT_OBJECTS_URL": f"file://{DATA}",
            "HOMEOSTAT_PIPELINES_URL": pipelines.url,
            "HOMEOSTAT_PROMETHEUS_URL": sink,
            "MLFLOW_TRACKING_URI": sink,
        }
        yield Cluster(api, heard, environment)


class _Heard(list[Any]):
    """Kubeflow's calls, and a word to the others that there was one."""

    def __init__(self, heard: list[str]) -> None:
        super().__init__()
        self._heard = heard

    def append(self, call: Any) -> None:
        super().append(call)
        self._heard.append(str(call))


@contextlib.contextmanager
def _sink(heard: list[str]) -> Iterator[str]:
    """A broker that takes everything, and says what it took."""

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            heard.append(self.headers.get("ce-type", "a command"))
            self.send_response(202)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: the bench prints its table."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
