"""SIGKILL for the whole process group at random moments of the loop, again and again.

What must hold afterwards, however often it died: every accepted event was handled, every decision to train
led to exactly one run and one model version, and the chain goes on to a promoted revision.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from homeostat.eventing.broker.log import EventLog
from homeostat.eventing.errors import Reject
from homeostat.eventing.messages import (
    EvalFailed,
    EvalPassed,
    ModelPromoted,
    TrainingCompleted,
    TrainingFailed,
    TrainingRequested,
)
from homeostat.infra.local.views import dead_letters
from tests.scenarios.homes import CHANNELS, RunningHome, rows


def versions(home: RunningHome) -> Counter[str]:
    """How many model versions the registry holds for each run."""
    database = home.settings.state / "mlflow.db"
    with contextlib.closing(sqlite3.connect(database)) as db:
        tags = db.execute("SELECT value FROM model_version_tags WHERE key = 'homeostat.run'").fetchall()
    return Counter(run for (run,) in tags)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "seed"),
    [pytest.param(3, 1), pytest.param(30, 2, marks=pytest.mark.timeout(1800))],
)
def test_killed_at_random_moments_the_loop_loses_nothing_and_does_nothing_twice(
    tmp_path: Path, kills: int, seed: int
) -> None:
    chance = random.Random(seed)
    home = RunningHome(tmp_path / "state")
    home.apply()
    block = rows(10, seed=99)[list(CHANNELS)].to_numpy(float).tolist()
    sent: list[str] = []
    home.start()
    try:
        for number in range(kills):
            home.wait_healthy()
            with contextlib.suppress(Reject, httpx.TransportError):
                sent.append(str(home.land(rows(800, seed=number), f"{number}.csv", tmp_path)["id"]))
                if number % 5 == 4:
                    wish = {"force": True, "reason": f"kill {number}"}
                    sent.append(home.emit(TrainingRequested.type, wish))
            alive = time.monotonic() + chance.uniform(0.5, 35)
            while time.monotonic() < alive:
                with contextlib.suppress(httpx.TransportError):
                    home.predict(block)
                time.sleep(0.2)
            home.kill()
            home.start()
        home.wait_healthy()
        _settle(home, block)
    finally:
        home.kill()
    _nothing_was_lost(home, sent)
    _nothing_was_done_twice(home)


def _settle(home: RunningHome, block: list[list[float]]) -> None:
    """Let the loop come to rest under traffic: nothing on its way, nothing in flight, something served."""

    def at_rest() -> bool:
        with contextlib.suppress(httpx.TransportError):
            for _ in range(5):
                home.predict(block)
        status = home.status()
        busy = status["run"] or status["judging"] or status["canary"] or status["waiting"]
        lag = EventLog(home.settings.broker_db).lag()
        return bool(status["serving"]) and not busy and not any(lag.values())

    home.until(at_rest, 300, "the loop to come to rest")


def _nothing_was_lost(home: RunningHome, sent: list[str]) -> None:
    accepted = {event.attributes["id"] for event in home.events()}
    assert set(sent) <= accepted
    assert dead_letters(home.settings) == []
    assert home.events(ModelPromoted.type)


def _nothing_was_done_twice(home: RunningHome) -> None:
    completed = home.events(TrainingCompleted.type)
    runs = Counter(event.attributes["causationid"] for event in completed)
    assert runs, "no training completed"
    assert set(runs.values()) == {1}, "a decision led to two trainings"
    assert home.events(TrainingFailed.type) == []
    judged = home.events(EvalPassed.type, EvalFailed.type)
    assert len(judged) == len(completed)
    found = versions(home)
    assert set(found.values()) == {1}, "a run registered two versions"
    assert len(found) == len(completed)
