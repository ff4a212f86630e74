"""A real Prometheus and a real Alertmanager (Debian's), on the files that `homeostat monitoring` writes."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from homeostat.infra.local.home import free_port
from homeostat.infra.local.settings import Settings

PROGRAMS = ("prometheus", "prometheus-alertmanager")


def installed() -> None:
    """Skips without them, fails where CI should have them."""
    missing = [one for one in PROGRAMS if not shutil.which(one)]
    if not missing:
        return
    mend = f"no {' and no '.join(missing)} here: `make system-deps` installs them"
    if os.environ.get("CI") == "true":
        pytest.fail(mend)
    pytest.skip(mend)


@dataclass
class Monitors:
    """Both of them beside a home; `scale`: every wait of the shipped rules is so many times as long."""

    folder: Path
    settings: Settings
    scale: float
    prometheus: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    alertmanager: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")

    @contextlib.contextmanager
    def running(self) -> Iterator[Monitors]:
        with contextlib.ExitStack() as open_:
            for program, command in zip(PROGRAMS, self._commands(), strict=False):
                assert command[0] == program
                open_.enter_context(self._process(command))
            for address in (self.prometheus, self.alertmanager):
                self._wait_ready(f"http://{address}/-/ready")
            yield self

    def _commands(self) -> list[list[str]]:
        """As a person would: the files by the command line, and what it says to start."""
        words = ["monitoring", str(self.folder), "--state", str(self.settings.state), "--output", "json"]
        words += ["--port", str(self.settings.port), "--scale", str(self.scale)]
        words += ["--prometheus", self.prometheus, "--alertmanager", self.alertmanager]
        command = [sys.executable, "-m", "homeostat.infra.cli", *words]
        made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert made.returncode == 0, made.stderr
        return [shlex.split(one) for one in json.loads(made.stdout)["commands"]]

    @contextlib.contextmanager
    def _process(self, command: list[str]) -> Iterator[None]:
        with (self.folder / f"{command[0]}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(15)

    def _wait_ready(self, url: str) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(url, timeout=5).status_code == 200:
                    return
            time.sleep(0.1)
        raise AssertionError(self.log())

    def log(self) -> str:
        return "\n".join(one.read_text(errors="replace")[-2000:] for one in self.folder.glob("*.log"))
