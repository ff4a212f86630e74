"""Requests a second and 99th percentile over HTTP of the predictor, beside KServe's sklearn server with the
same forest, and beside KServe's server when it answers a constant.

`requests` is against the sklearn server, `of_constant` against the constant; of `p99`, in ms, less is better.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from homeostat.models import artifact
from homeostat.models.fitting import fit

PEER = f"KServe {version('kserve')}'s sklearn server, scikit-learn {version('scikit-learn')}; or a constant"
CONNECTIONS = 16
SECONDS = 1.5
ROUNDS = 4
CHANNELS = 8
HEAD = (
    b"POST /v1/models/pump:predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: "
)


def run() -> dict[str, dict[str, Any]]:
    from tests.bench.__main__ import Metric

    body, kinds = json.dumps({"instances": _rows(1).tolist()}).encode(), ("ours", "sklearn", "constant")
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    waits: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder, _servers(Path(folder)) as ports:
        for kind in kinds:  # the first answers are slower
            asyncio.run(_round(ports[kind], body, 0.5))
        for _ in range(ROUNDS):
            for kind in kinds:
                rate, wait = asyncio.run(_round(ports[kind], body, SECONDS))
                rates[kind].append(rate)
                waits[kind].append(wait)
    best = {kind: max(rates[kind]) for kind in kinds}
    least = {kind: min(waits[kind]) for kind in kinds}
    return {
        "requests": Metric(best["ours"], best["sklearn"], "req/s").document(),
        "of_constant": Metric(best["ours"], best["constant"], "req/s").document(),
        "p99": Metric(least["ours"], least["sklearn"], "ms").document(),
        "p99_of_constant": Metric(least["ours"], least["constant"], "ms").document(),
    }


def _rows(n: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(n).normal(size=(n, CHANNELS))


@contextlib.contextmanager
def _servers(folder: Path) -> Iterator[dict[str, int]]:
    """All three, with one forest of 100 trees on rows of eight channels: the same request suits all."""
    from sklearn.ensemble import IsolationForest

    rows = _rows(4000)
    names = tuple(f"channel {number}" for number in range(CHANNELS))
    detector = fit("isolation-forest", rows, channels=names, window=1, scaler="none")
    artifact.save(detector, folder / "ours", {})
    grown = IsolationForest(n_estimators=100, max_samples=256, random_state=0).fit(rows[:3000])
    joblib.dump(grown, folder / "forest.joblib")
    answer = json.dumps({"predictions": [{"score": 0.5, "anomaly": False}], "threshold": 0.5})
    ports = dict(zip(("ours", "sklearn", "constant"), _free_ports(3), strict=True))
    peers = [sys.executable, "-m", "tests.bench.kserve_peers"]
    own = [sys.executable, "-m", "homeostat.models.predictor", "--model_name", "pump"]
    own += ["--model_dir", str(folder / "ours"), "--host", "127.0.0.1", "--http_port", str(ports["ours"])]
    commands = [
        own,
        [*peers, "sklearn", str(folder / "forest.joblib"), str(ports["sklearn"])],
        [*peers, "constant", answer, str(ports["constant"])],
    ]
    with contextlib.ExitStack() as stack, (folder / "log").open("wb") as log:
        for command in commands:
            server = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log))
            stack.callback(server.kill)
        for port in ports.values():
            _wait_for(port, (folder / "log"))
        yield ports


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        bound = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in bound:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in bound]


def _wait_for(port: int, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.2)
    raise RuntimeError(f"nothing listens on {port}: {log.read_text()[-2000:]}")


async def _round(port: int, body: bytes, seconds: float) -> tuple[float, float]:
    """Requests a second, and the 99th percentile of their milliseconds."""
    waits: list[float] = []
    begun = time.perf_counter()
    await asyncio.gather(*(_client(port, body, begun + seconds, waits) for _ in range(CONNECTIONS)))
    return len(waits) / (time.perf_counter() - begun), float(np.quantile(waits, 0.99)) * 1e3


async def _client(port: int, body: bytes, until: float, waits: list[float]) -> None:
    """Raw sockets with keep-alive: a client library would be slower than the server it measures."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = HEAD + str(len(body)).encode() + b"\r\n\r\n" + body
    while (begun := time.perf_counter()) < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        waits.append(time.perf_counter() - begun)
    writer.close()
    await writer.wait_closed()
