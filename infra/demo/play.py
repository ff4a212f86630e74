"""`homeostat demo`: one story in six acts, told through the public doors only.

A home runs as a child process on a state of its own. The demo applies a Detector, lands files, sends traffic
and events, and watches the broker's log, as any user could.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import psutil

from homeostat.eventing.messages import (
    CanaryRolledBack,
    CanaryStarted,
    DriftDetected,
    EvalFailed,
    EvalPassed,
    ModelPromoted,
    TrainingFailed,
    TrainingRequested,
)

from ..local.client import land_file, post, status_of
from ..local.home import free_port
from ..local.settings import Settings
from ..local.store import Store
from ..manifest import parse
from .report import closing, quality, show
from .story import DETECTOR, NoStory, Story, simulated, skab
from .traffic import Traffic
from .watch import Seen, Watch

TRAINING_TIMEOUT = 240.0
ROLLOUT_TIMEOUT = 120.0


class DemoError(Exception):
    """The story did not come to its end; the message says where and what to look at."""


def play(data: Path | None, state: Path | None, *, quiet: bool) -> dict[str, Any]:
    """Tell the story and return its report. Raises DemoError."""
    try:
        story = skab(data) if data else simulated()
    except NoStory as error:
        raise DemoError(str(error)) from None
    with contextlib.ExitStack() as stack:
        if state is None:
            state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="homeostat-demo-")))
        settings = Settings(state=state.resolve(), port=free_port(), tick="@every 500ms")
        watch = Watch(settings, quiet=quiet)
        try:
            stack.enter_context(_home(settings, watch))
            return _Play(story, settings, watch).acts(stack)
        except TimeoutError as error:
            raise DemoError(f"{error}; {_last_words(settings)}") from None


@contextlib.contextmanager
def _home(settings: Settings, watch: Watch) -> Iterator[None]:
    watch.act("Starting the home: broker, functions, router, drift host")
    settings.state.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "homeostat.infra.cli", "up"]
    command += ["--state", str(settings.state), "--port", str(settings.port), "--tick", settings.tick]
    with (settings.state / "home.log").open("ab") as output:
        home = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            _await_health(settings, home)
            yield
        finally:
            home.terminate()
            try:
                home.wait(30)
            except subprocess.TimeoutExpired:
                home.kill()
                home.wait()


def _await_health(settings: Settings, home: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and home.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{settings.url}/healthz", timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    raise DemoError(f"the home did not start; {_last_words(settings)}")


def _last_words(settings: Settings) -> str:
    """The end of the home's log, for the error that people see."""
    log = settings.state / "home.log"
    lines = log.read_text(errors="replace").splitlines()[-15:] if log.exists() else []
    return "the home's log ends:\n" + "\n".join(lines)


class _Play:
    """The acts, in their order; `seconds` holds what each took."""

    def __init__(self, story: Story, settings: Settings, watch: Watch) -> None:
        self.story = story
        self.settings = settings
        self.watch = watch
        self.traffic = Traffic(settings.url)
        self.seconds: dict[str, float] = {}
        self.uris: dict[str, str] = {}
        self.algorithm = ""

    def acts(self, stack: contextlib.ExitStack) -> dict[str, Any]:
        begun = time.monotonic()
        stack.callback(self.traffic.stop)
        self.watch.title(self.story.title)
        for name, act in (
            ("first model", self.first_model),
            ("poor candidate", self.poor_candidate),
            ("drift", self.drift),
            ("fresh model", self.fresh_model),
            ("failing canary", self.failing_canary),
        ):
            at = time.monotonic()
            act()
            self.seconds[name] = round(time.monotonic() - at, 1)
        self.traffic.stop()
        stale, fresh = quality(self.uris["first"], self.story), quality(self.uris["fresh"], self.story)
        self.seconds["total"] = round(time.monotonic() - begun, 1)
        status = status_of(self.settings, DETECTOR)["status"]
        report = closing(self.watch.seen, status, stale, fresh, self.seconds, self.traffic)
        if not self.watch.quiet:
            show(report, self.watch.console)
        return report

    def first_model(self) -> None:
        self.watch.act("Data lands; a first detector is trained, judged, and earns its traffic")
        folder = self.settings.data(DETECTOR)
        name, spec = parse(self.story.manifest(folder))
        store = Store(self.settings.detectors_db)
        store.apply(name, spec)
        store.close()
        self._land("first", list(self.story.first))
        self.watch.wait_for(EvalPassed, TRAINING_TIMEOUT, unless=(EvalFailed, TrainingFailed))
        self.traffic.switch(self.story.calm)
        promoted = self.watch.wait_for(ModelPromoted, ROLLOUT_TIMEOUT, unless=(CanaryRolledBack,))
        self.uris["first"] = str(promoted.data["uri"])

    def poor_candidate(self) -> None:
        self.watch.act("Somebody asks for a poor candidate: one tree that has seen four windows")
        poor = {"trees": 1, "max_samples": 4}
        self._train("a poor idea", {"isolation-forest": poor})
        self.watch.wait_for(EvalFailed, TRAINING_TIMEOUT, unless=(EvalPassed, TrainingFailed))

    def drift(self) -> None:
        self.watch.act("The world changes: traffic of another regime, and its files land")
        self._land("second", list(self.story.second))
        self.traffic.switch(self.story.shifted)
        self.watch.wait_for(DriftDetected, ROLLOUT_TIMEOUT)

    def fresh_model(self) -> None:
        self.watch.act("Drift starts a training; the fresh candidate goes through gate and canary")
        self.watch.wait_for(EvalPassed, TRAINING_TIMEOUT, unless=(EvalFailed, TrainingFailed))
        promoted = self.watch.wait_for(ModelPromoted, ROLLOUT_TIMEOUT, unless=(CanaryRolledBack,))
        self.uris["fresh"] = str(promoted.data["uri"])
        self.algorithm = str(promoted.data["algorithm"])

    def failing_canary(self) -> None:
        self.watch.act("Another candidate passes its gates, but its server keeps dying: rolled back")
        self._train("a second opinion", {self.algorithm: {}})
        canary = self.watch.wait_for(CanaryStarted, TRAINING_TIMEOUT, unless=(EvalFailed, TrainingFailed))
        self._kill_until_rolled_back(str(canary.data["revision"]))

    def _kill_until_rolled_back(self, revision: str) -> None:
        deadline = time.monotonic() + ROLLOUT_TIMEOUT
        while time.monotonic() < deadline:
            # Once it has answered a little, so that it fails under traffic and not at its start.
            if self.traffic.by_revision[revision] >= 3:
                _kill_server(revision)
            try:
                self.watch.wait_for(CanaryRolledBack, 0.3, unless=(ModelPromoted,))
                return
            except TimeoutError:
                continue
        raise TimeoutError("the failing canary was not rolled back in time")

    def _land(self, prefix: str, frames: list[pd.DataFrame]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for number, frame in enumerate(frames):
                file = Path(folder) / f"{prefix}-{number}.csv"
                frame.to_csv(file, sep=";", index=False)
                land_file(self.settings, DETECTOR, file)

    def _train(self, reason: str, parameters: dict[str, dict[str, Any]]) -> Seen:
        wish = {"reason": reason, "candidates": list(parameters), "parameters": parameters}
        identity = post(self.settings, TrainingRequested.type, DETECTOR, wish)
        return self.watch.wait_for(TrainingRequested, 30, where=lambda seen: seen.id == identity)


def _kill_server(revision: str) -> None:
    """What an out-of-memory killer would do to the canary's ModelServer."""
    for process in psutil.process_iter(["cmdline"]):
        if (
            revision in (process.info["cmdline"] or [])
            and "homeostat.models.predictor" in process.info["cmdline"]
        ):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
