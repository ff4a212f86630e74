"""A real Prometheus, and pods for it to scrape: exporters with the predictor's own metrics."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from homeostat.models.predictor_metrics import Metrics
from tests.models.predictors import free_port


@dataclass
class Prometheus:
    """Scrapes what `scrape` says, twice a second."""

    url: str
    targets: Path

    def scrape(self, *addresses: str) -> None:
        fresh = self.targets.with_suffix(".new")
        fresh.write_text(json.dumps([{"targets": list(addresses)}]))
        fresh.replace(self.targets)


@contextlib.contextmanager
def prometheus(folder: Path) -> Iterator[Prometheus]:
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("no prometheus on the PATH: apt-get install prometheus")
    targets, port = folder / "targets.json", free_port()
    found = Prometheus(f"http://127.0.0.1:{port}", targets)
    found.scrape()
    jobs = [{"job_name": "pods", "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "1s"}]}]
    document = {"global": {"scrape_interval": "500ms", "scrape_timeout": "400ms"}, "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(document))
    own = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    process = subprocess.Popen(
        [binary, *own, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL
    )
    try:
        eventually(lambda: httpx.get(f"{found.url}/-/ready").status_code, 200)
        yield found
    finally:
        process.terminate()
        process.wait()


class Registry(CollectorRegistry):
    """One that does not show one of its metrics."""

    def __init__(self, without: str) -> None:
        super().__init__()
        self._without = without

    def collect(self) -> Iterator[Metric]:
        return (one for one in super().collect() if one.name != self._without)


@dataclass
class Pod:
    """One container of a revision's. Started again at its address, it counts from zero."""

    revision: str
    port: int = field(default_factory=free_port)
    extra: Iterable[Collector] = ()
    without: str = ""
    _stop: Callable[[], None] = lambda: None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        registry = Registry(self.without)
        self.metrics = Metrics(registry, self.revision, "isolation-forest", "1")
        for one in self.extra:
            registry.register(one)
        server, thread = start_http_server(self.port, "127.0.0.1", registry)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        self._stop = stop

    def stop(self) -> None:
        self._stop()
        self._stop = lambda: None

    def serve(self, requests: int, *, errors: int = 0, rejected: int = 0, seconds: float = 0.003) -> None:
        """Answer so many requests of two rows each, the first of them an anomaly."""
        for _ in range(requests):
            self.metrics.scored(np.array([2.0, 0.5]), np.array([True, False]), 1.0, seconds)
            self.metrics.answered("ok", seconds)
        for outcome, count in (("error", errors), ("rejected", rejected)):
            for _ in range(count):
                self.metrics.answered(outcome, seconds)


@contextlib.contextmanager
def pods(*wanted: Pod) -> Iterator[None]:
    for one in wanted:
        one.start()
    try:
        yield
    finally:
        for one in wanted:
            one.stop()


def eventually(ask: Callable[[], Any], wanted: Any, seconds: float = 30) -> None:
    """Asked again until that is the answer."""
    until = time.monotonic() + seconds
    while True:
        try:
            found = ask()
        except httpx.TransportError as error:
            found = error
        if found == wanted:
            return
        assert time.monotonic() < until, f"{found}, not {wanted}"
        time.sleep(0.2)
