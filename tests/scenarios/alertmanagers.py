"""A real Alertmanager (Debian's prometheus-alertmanager) that sends its groups to a gateway."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from homeostat.infra.local.home import free_port

MEND = "no prometheus-alertmanager here: `make system-deps` installs it"


def binary() -> str:
    """Where it is. Skips without it, fails where CI should have it."""
    found = shutil.which("prometheus-alertmanager")
    if found:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(MEND)
    pytest.skip(MEND)


class Alertmanager:
    """One, alone. Two of them each notify, as HA peers do that have lost sight of each other."""

    def __init__(self, folder: Path, webhook: str, token: str | None = None) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        folder.mkdir(parents=True)
        self._log = folder / "log"
        receiver: dict[str, Any] = {"url": webhook, "send_resolved": True}
        if token:
            receiver["http_config"] = {"authorization": {"credentials": token}}
        route = {
            "receiver": "homeostat",
            "group_by": ["alertname"],
            "group_wait": "100ms",
            "group_interval": "1s",
            "repeat_interval": "1h",
        }
        receivers = [{"name": "homeostat", "webhook_configs": [receiver]}]
        config = folder / "alertmanager.yaml"
        config.write_text(yaml.safe_dump({"route": route, "receivers": receivers}))
        self._command = [
            binary(),
            f"--config.file={config}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            f"--web.external-url={self.url}",
            "--cluster.listen-address=",
        ]

    @contextlib.contextmanager
    def running(self) -> Iterator[Alertmanager]:
        with self._log.open("wb") as log:
            process = subprocess.Popen(self._command, stdout=log, stderr=log)
        try:
            self._wait_ready(process)
            yield self
        finally:
            process.terminate()
            process.wait(10)

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            assert process.poll() is None, self.log()
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/-/ready", timeout=5).status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(self.log())

    def tell(self, alerts: Sequence[dict[str, Any]]) -> None:
        """What Prometheus does (POST /api/v2/alerts)."""
        httpx.post(f"{self.url}/api/v2/alerts", json=list(alerts), timeout=5).raise_for_status()

    def sent(self) -> int:
        """How many notifications it has sent without an error."""
        text = httpx.get(f"{self.url}/metrics", timeout=5).text
        tried, failed = (
            sum(float(value) for value in re.findall(rf'^{name}{{integration="webhook"}} (\S+)$', text, re.M))
            for name in ("alertmanager_notifications_total", "alertmanager_notifications_failed_total")
        )
        return round(tried - failed)

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]
