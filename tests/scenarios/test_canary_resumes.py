"""SIGKILL for the whole home at any tick of a canary: it resumes the same canary at the same step, and ends
in its promotion."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from homeostat.eventing.messages import CanaryRolledBack, ModelPromoted, StartCanary
from homeostat.functions.detector import Canary, Cause, Revision, Status
from homeostat.infra.local.store import Store
from homeostat.infra.outcome import Outcome
from tests.infra.serving_home import CHANNELS, save_artifacts
from tests.scenarios.homes import RunningHome

CAUSE = Cause(id="judged", correlationid="first")
STEPS = (20, 60)
ROWS = [[0.1, 0.2], [0.3, 0.1]]


def on_trial(home: RunningHome, artifacts: Mapping[str, Path]) -> Canary:
    """A home that was stopped before it could carry out what it decided last: to begin a canary."""
    old, new = (
        Revision(name=name, uri=str(artifacts[name]), algorithm="isolation-forest", version="1")
        for name in ("pump-a", "pump-b")
    )
    home.apply(
        data={"uri": f"{home.settings.data('pump')}/", "channels": list(CHANNELS)},
        canary={
            "steps": list(STEPS),
            "every": "1s",
            "min_requests": 30,
            "max_latency_ratio": 50,
            "max_error_increase": 0.5,
            "max_anomaly_increase": 0.9,
            "max_score_shift": 1.0,
        },
    )
    now = datetime.now(UTC)
    canary = Canary(revision=new, percent=STEPS[0], started=now, step_started=now, cause=CAUSE)
    store = Store(home.settings.detectors_db)
    found = store.snapshot("pump", now, CAUSE)
    assert found is not None
    detector, version = found
    status = Status(serving=old, canary=canary)
    command = StartCanary(detector="pump", revision=new.name, uri=new.uri, percent=STEPS[0])
    outcome = Outcome(detector.model_copy(update={"status": status}), [command], [])
    assert store.commit("pump", version, status, "judged roll-out", outcome)
    store.close()
    return canary


@contextlib.contextmanager
def traffic(home: RunningHome) -> Iterator[Counter[str]]:
    """Clients that ask again and again, whatever they are told. Counts who answered."""
    answers: Counter[str] = Counter()
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.02):
            with contextlib.suppress(httpx.TransportError):
                answer = home.predict(ROWS)
                if answer.status_code == 200:
                    answers[answer.headers["x-homeostat-revision"]] += 1

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for one in threads:
        one.start()
    try:
        yield answers
    finally:
        over.set()
        for one in threads:
            one.join()


def stored(home: RunningHome) -> Status:
    """The status as it is on the disk, whether or not the home runs."""
    store = Store(home.settings.detectors_db)
    try:
        found = store.snapshot("pump", datetime.now(UTC), CAUSE)
        assert found is not None
        return found[0].status
    finally:
        store.close()


def resumed(home: RunningHome, begun: Canary, before: int) -> int:
    """The canary's share after a kill: of the same canary, and no smaller than before."""
    status = stored(home)
    if status.canary is None:
        assert status.serving is not None
        assert status.serving.name == begun.revision.name, f"gone: {status.message}"
        return 100
    assert (status.canary.revision, status.canary.started) == (begun.revision, begun.started)
    assert status.canary.percent >= before
    return status.canary.percent


def served(home: RunningHome) -> Any:
    """What the home sends its traffic by, as it wrote it down."""
    with contextlib.closing(sqlite3.connect(home.settings.state / "serving.db")) as db:
        ((document,),) = db.execute("SELECT document FROM desired WHERE detector = 'pump'").fetchall()
    return orjson.loads(document)


@pytest.mark.parametrize(
    ("kills", "seed"),
    [pytest.param(1, 1), pytest.param(15, 2, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
)
def test_a_home_that_is_killed_at_any_tick_resumes_its_canary_at_its_step(
    tmp_path: Path, kills: int, seed: int
) -> None:
    chance = random.Random(seed)
    artifacts = save_artifacts(tmp_path / "artifacts")
    home = RunningHome(tmp_path / "state", tick="@every 300ms")
    begun, percent = on_trial(home, artifacts), STEPS[0]
    home.start()
    try:
        for _ in range(kills):
            home.wait_healthy()
            home.until(lambda: asked(home) is not None, 60, "a revision that answers")
            alive = time.monotonic() + chance.uniform(0, 3 if kills > 1 else 1)
            with traffic(home):
                while time.monotonic() < alive:
                    time.sleep(0.02)
                home.kill()
            percent = resumed(home, begun, percent)
            home.start()
        home.wait_healthy()
        assert resumed(home, begun, percent) >= percent
        canary = stored(home).canary
        if canary:
            said = served(home)
            assert said["canary"]["revision"] == begun.revision.name
            assert STEPS[0] <= said["percent"] <= 100
        with traffic(home) as answers:
            home.until(lambda: stored(home).canary is None, 120, "the end of the canary")
            home.until(lambda: (asked(home) or "") == begun.revision.name, 30, "the promoted one's answers")
        assert stored(home).serving.name == begun.revision.name  # type: ignore[union-attr]
        assert len(home.events(ModelPromoted.type)) == 1
        assert home.events(CanaryRolledBack.type) == []
        assert set(answers) <= {"pump-a", "pump-b"}
    finally:
        home.kill()


def asked(home: RunningHome) -> str | None:
    """Who answers a request now."""
    with contextlib.suppress(httpx.TransportError):
        answer = home.predict(ROWS)
        return answer.headers["x-homeostat-revision"] if answer.status_code == 200 else None
    return None
