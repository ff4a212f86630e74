"""How long a function's process takes from its start to the first answered event over HTTP, and the processor
time and memory that this takes, beside an empty FastAPI app started just before in the same way.

The functions have SQLite for a store, a sink to post to, and a host that hands in what it would have
measured: their own start is meant. detect-drift is the command of one machine, which loads numpy before its
first event and alibi-detect beside it; `loaded` is when that is there.
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
from homeostat.functions.detector import Judging, Status
from homeostat.infra.local.store import Store
from homeostat.infra.outcome import Outcome
from tests.functions import detectors

PEER = f"an empty FastAPI {version('fastapi')} app on uvicorn {version('uvicorn')}"
ROUNDS = 5
MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class First:
    """The event that wakes a function, and the status in which it finds the Detector."""

    event: messages.Event
    status: Mapping[str, Any] = field(default_factory=dict)


FIRST: Mapping[str, First] = {
    "receive-data": First(messages.DataLanded(uri="s3://plant/pump/b.csv", etag="2")),
    "plan-retraining": First(
        messages.TrainingRequested(force=True), {"batches": (detectors.batch(rows=6000),), "new_rows": 6000}
    ),
    "judge-candidate": First(detectors.completed(), {"run": detectors.run()}),
    "roll-out": First(detectors.passed(), {"judging": Judging(run="r2", since=detectors.NOON)}),
    "score-stream": First(messages.SamplesReceived(rows=[[1.0]]), {"serving": detectors.revision()}),
}
DRIFT = "detect-drift"
SEEN = First(messages.InferenceRequest(instances=[[1.0]]))


@dataclass(frozen=True)
class Start:
    """`cpu` is less shaken by what else the machine does than the time on the wall."""

    milliseconds: float
    cpu: float
    megabytes: float


def run() -> dict[str, dict[str, Any]]:
    pairs: dict[str, list[tuple[Start, Start]]] = {}
    with _sink() as (sink, heard):
        for _ in range(ROUNDS):
            for name, first in FIRST.items():
                pairs.setdefault(name, []).append((_empty(first), _function(name, first, sink)))
                if not heard:
                    raise RuntimeError(f"{name} did nothing on its first event")
                heard.clear()
            pairs.setdefault(DRIFT, []).append((_empty(SEEN), _drift()))
    metrics: dict[str, dict[str, Any]] = {}
    for name, each in pairs.items():
        peers, ours = zip(*each, strict=True)
        metrics |= _metrics(name, _middle(ours), _middle(peers))
    return metrics | _metrics(f"{DRIFT} loaded", _drift(until_loaded=True), None)


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
    return _started(first, "tests.bench.coldstart_empty")


def _function(name: str, first: First, sink: str) -> Start:
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "detectors.db"
        _stored(database, first.status)
        return _started(first, "tests.bench.coldstart_function", name, str(database), sink)


def _drift(until_loaded: bool = False) -> Start:
    with tempfile.TemporaryDirectory() as folder:
        _stored(Path(folder) / "detectors.db", SEEN.status)
        command = ("homeostat.infra.serve", DRIFT, "--port")
        return _started(SEEN, *command, state=folder, until_loaded=until_loaded)


def _stored(database: Path, status: Mapping[str, Any]) -> None:
    """A store with one Detector in that status."""
    with contextlib.closing(Store(database)) as store:
        store.apply("pump", detectors.spec())
        found = store.snapshot("pump", detectors.NOON, detectors.cause())
        if found is None:
            raise RuntimeError("the Detector is not there")
        store.commit("pump", found[1], Status(**status), "before", Outcome(found[0], [], []))


def _started(first: First, *command: str, state: str = "", until_loaded: bool = False) -> Start:
    """Start a module, whose last argument is a free port, and send it the event until it answers."""
    event = codec.announce(
        first.event, id="e1", source="/bench", subject="pump", cause=detectors.cause(), now=detectors.NOON
    )
    headers, body = wire.encode(event)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOMEOSTAT_STATE": state}
    begun = time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", *command, str(port)], env=environment) as process:
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
            if answer.status != 202:
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
def _sink() -> Iterator[tuple[str, list[str]]]:
    """A broker that takes everything, and what it took."""
    heard: list[str] = []

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
            yield f"http://127.0.0.1:{server.server_address[1]}/", heard
        finally:
            server.shutdown()
