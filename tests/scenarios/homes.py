"""A real `homeostat up` for the scenarios: started, killed and started again from outside, as users would."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pandas as pd

from homeostat.eventing.broker.log import EventLog
from homeostat.infra.local.client import land_file, post, status_of
from homeostat.infra.local.home import free_port
from homeostat.infra.local.settings import Settings
from homeostat.infra.local.store import Store
from homeostat.infra.manifest import parse
from homeostat.models.simulator import CHANNELS, simulate


def rows(count: int, regime: str = "commissioned", seed: int = 1, faults: float = 0.05) -> pd.DataFrame:
    """Labelled rows of the simulated rig."""
    return simulate(count, regime=regime, start=datetime(2026, 3, 1, 8), seed=seed, faults=faults)


class RunningHome:
    """One state directory and the process group that works on it."""

    def __init__(self, state: Path, tick: str = "@every 500ms") -> None:
        self.settings = Settings(state=state, port=free_port(), tick=tick)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.settings.state.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "homeostat.infra.cli", "up", "--state", str(self.settings.state)]
        command += ["--port", str(self.settings.port), "--tick", self.settings.tick]
        with (self.settings.state / "home.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def wait_healthy(self, seconds: float = 60) -> None:
        self.until(self._answers, seconds, "the home to answer")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.settings.url}/healthz", timeout=5).status_code == 200
        return False

    def kill(self) -> None:
        """SIGKILL for the whole group: no process of the home gets a last word."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit status once everything is drained."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(60)

    def log(self) -> str:
        return (self.settings.state / "home.log").read_text(errors="replace")[-6000:]

    def apply(self, name: str = "pump", **spec: Any) -> None:
        """A Detector with waits short enough for tests; `spec` overrides whole sections."""
        document = {
            "data": {"uri": f"{self.settings.data(name)}/", "channels": list(CHANNELS), "label": "anomaly"},
            "features": {"window": 20},
            "candidates": ["isolation-forest"],
            "gate": {"min": 0.2, "improve": -0.5, "max_false_alarm_rate": 0.3, "max_latency_ms": 500},
            "retrain": {"min_new_rows": 1500, "min_drift_rows": 500, "cooldown": "1s", "debounce": "300ms"},
            "drift": {"window": 300, "every": 150, "consecutive": 2},
            "canary": {"steps": [50], "every": "1s", "min_requests": 10, "max_latency_ratio": 50},
        }
        manifest = {
            "apiVersion": "homeostat.dev/v1alpha1",
            "kind": "Detector",
            "metadata": {"name": name},
            "spec": {**document, **spec},
        }
        store = Store(self.settings.detectors_db)
        store.apply(*parse(manifest))
        store.close()

    def land(self, frame: pd.DataFrame, file: str, tmp: Path, detector: str = "pump") -> Mapping[str, Any]:
        path = tmp / file
        frame.to_csv(path, sep=";", index=False)
        return land_file(self.settings, detector, path)

    def emit(self, kind: str, data: Mapping[str, Any], subject: str = "pump") -> str:
        return post(self.settings, kind, subject, data)

    def predict(self, block: Sequence[Sequence[float]], detector: str = "pump") -> httpx.Response:
        url = f"{self.settings.url}/serving/{detector}/v1/models/{detector}:predict"
        return httpx.post(url, json={"instances": block}, timeout=10)

    def status(self, detector: str = "pump") -> Mapping[str, Any]:
        status: Mapping[str, Any] = status_of(self.settings, detector)["status"]
        return status

    def events(self, *types: str) -> list[Any]:
        log = EventLog(self.settings.broker_db)
        found, after = [], 0
        while page := log.events(after, 1000):
            after = page[-1].sequence
            found += [one.event for one in page if not types or one.event.attributes["type"] in types]
        return found

    def until(self, true: Callable[[], object], seconds: float, what: str) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if result := true():
                return result
            time.sleep(0.1)
        raise AssertionError(f"waited {seconds:g} s for {what}; the home's log ends:\n{self.log()}")
