"""A real predictor process for tests that talk to one."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from homeostat.models.fitted import Fitted
from homeostat.models.fitting import fit

CHANNELS = ("pressure", "flow")
WINDOW = 4


def detector() -> Fitted:
    rows = np.random.default_rng(3).normal(size=(500, 2))
    return fit("isolation-forest", rows, channels=CHANNELS, window=WINDOW, parameters={"trees": 20})


def command(folder: Path, descriptor: int, *options: str) -> list[str]:
    own = ["--model_name", "pump", "--model_dir", str(folder), "--revision", "pump-abc"]
    return [sys.executable, "-m", "homeostat.models.predictor", *own, "--fd", str(descriptor), *options]


@contextlib.contextmanager
def running(folder: Path, *options: str) -> Iterator[httpx.Client]:
    """A client of a predictor that is ready, and has to end well afterwards."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        process = subprocess.Popen(command(folder, bound.fileno(), *options), pass_fds=[bound.fileno()])
    with httpx.Client(base_url=url, timeout=30) as client:
        try:
            _wait_until_ready(client, process)
            yield client
        finally:
            process.terminate()
            assert process.wait(20) in (0, -signal.SIGTERM)


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def _wait_until_ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90  # the first start on a machine compiles the scoring code
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            if client.get("/v2/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail("the server did not become ready")
