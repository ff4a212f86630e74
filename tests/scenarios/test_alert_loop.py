"""Alerts close the loop, with a real Prometheus and a real Alertmanager on the shipped rules: no hand on it.

The plant sends requests and its files land; whatever else happens, a rule, a webhook or an event began it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from homeostat.eventing import codec
from homeostat.eventing.messages import (
    AlertFired,
    AlertResolved,
    CanaryRolledBack,
    EvalPassed,
    ModelPromoted,
    RollbackRequested,
    TrainingCompleted,
)
from homeostat.functions.detector import Cause, Judging, Status
from homeostat.infra.demo.traffic import Traffic
from homeostat.infra.local.store import Store
from homeostat.infra.outcome import Outcome
from homeostat.models.simulator import CHANNELS
from tests.infra.serving_home import CHANNELS as SMALL
from tests.infra.serving_home import save_artifacts
from tests.scenarios.homes import RunningHome, rows
from tests.scenarios.monitors import Monitors, installed

SCALE = 0.01
"""A hundred times as fast as in earnest: the rule's five minutes are three seconds."""

SHIFT = "HomeostatAnomalyRateShift"
MAP = [
    {"match": {"alertname": SHIFT}, "action": "retrain"},
    {"match": {"alertname": "HomeostatModelRejectsRequests"}, "action": "rollback"},
]
TRAINING = 240
"""Seconds that a training may take on a machine that does much else."""

SPEC: dict[str, Any] = {
    "alerts": MAP,
    "candidates": ["kmeans-ad"],
    "gate": {"min": 0.0, "improve": -1.0, "max_false_alarm_rate": 0.5, "max_latency_ms": 500},
    # The alert shall be first: new rows and drift ask for nothing here.
    "retrain": {"min_new_rows": 2000, "min_drift_rows": 500, "cooldown": "1s", "max_rows": 1900},
    "drift": {"test": "ks", "consecutive": 1000},
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningHome]:
    """It asks the Prometheus that watches it for its canaries' figures."""
    installed()
    running = RunningHome(tmp_path / "state")
    monitors = Monitors(tmp_path / "monitoring", running.settings, SCALE)
    monkeypatch.setenv("HOMEOSTAT_PROMETHEUS_URL", f"http://{monitors.prometheus}")
    # Payloads are for drift, which is asked nothing here.
    monkeypatch.setenv("HOMEOSTAT_SAMPLE", "0")
    running.start()
    try:
        running.wait_healthy()
        with monitors.running():
            yield running
    finally:
        running.kill()


@pytest.fixture
def traffic(home: RunningHome) -> Iterator[Traffic]:
    running = Traffic(home.settings.url)
    yield running
    running.stop()


def apply(home: RunningHome, **spec: Any) -> None:
    home.apply(
        **{**SPEC, "data": {"uri": f"{home.settings.data('pump')}/", "channels": list(CHANNELS)}, **spec}
    )


def unlabelled(count: int, regime: str, seed: int) -> pd.DataFrame:
    return rows(count, regime, seed, faults=0.0).drop(columns="anomaly")


def only(home: RunningHome, kind: type[Any], **fields: str) -> Any:
    """The one event of its kind that says so."""
    said = [codec.parse(one)[0] for one in home.events(kind.type)]
    (found,) = [one for one in said if all(getattr(one, name) == value for name, value in fields.items())]
    return found


def told_of(home: RunningHome, kind: type[Any], alertname: str) -> bool:
    return any(codec.parse(one)[0].alertname == alertname for one in home.events(kind.type))  # type: ignore[union-attr]


def become_usual(home: RunningHome, traffic: Traffic, revision: str) -> None:
    """So many calm rows that the rule's six hours, which are minutes here, do not soon forget them."""
    block = unlabelled(2000, "commissioned", 5)[list(CHANNELS)].to_numpy(float).tolist()
    before = traffic.by_revision[revision]
    home.until(
        lambda: home.predict(block).status_code == 200 and traffic.by_revision[revision] > before + 400,
        90,
        "what is usual to be known",
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_anomaly_rate_shifts_and_the_loop_answers_until_the_alert_is_over(
    home: RunningHome, traffic: Traffic, files: Path
) -> None:
    apply(home)
    home.land(unlabelled(2000, "commissioned", 1), "first.csv", files)
    home.until(lambda: home.events(EvalPassed.type), TRAINING, "the first candidate")
    traffic.switch(unlabelled(6000, "commissioned", 2))
    home.until(lambda: home.events(ModelPromoted.type), 60, "the first model")
    first = home.status()["serving"]["name"]
    become_usual(home, traffic, first)

    home.land(unlabelled(1900, "rebuilt", 3), "second.csv", files)
    traffic.switch(unlabelled(9000, "rebuilt", 4))
    home.until(lambda: told_of(home, AlertFired, SHIFT), 60, "the alert")
    home.until(lambda: len(home.events(TrainingCompleted.type)) == 2, TRAINING, "the answer to be trained")
    home.until(lambda: len(home.events(ModelPromoted.type)) == 2, 90, "the answer to serve")
    home.until(lambda: told_of(home, AlertResolved, SHIFT), 60, "the alert to be over")
    # Others fire too, as a rule that most rows are anomalous: the map has no word for them.
    home.until(lambda: not home.status()["incidents"], 60, "its incident to be closed")

    fired, over = (only(home, kind, alertname=SHIFT) for kind in (AlertFired, AlertResolved))
    assert (fired.labels["revision"], fired.fingerprint) == (first, over.fingerprint)
    last = [one.attributes["type"] for one in home.events(ModelPromoted.type, AlertResolved.type)]
    assert last.index(AlertResolved.type) == 2, "it ended when the answer served, not before"
    second = home.status()["serving"]
    assert (second["trigger"], home.status()["previous"]["name"]) == ("alert", first)
    assert not home.events(CanaryRolledBack.type)
    told = [line.split() for line in why(home) if "·" not in line]
    names = ["alert.fired", "training.requested", "training.completed", "eval.passed", "model.promoted"]
    assert [next(word for word in line if word in names) for line in told] == names
    assert told[0][-3] == "HomeostatAnomalyRateShift,"


def why(home: RunningHome) -> list[str]:
    command = [
        sys.executable,
        "-m",
        "homeostat.infra.cli",
        "why",
        "pump",
        "--state",
        str(home.settings.state),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


def awaited(home: RunningHome, artifact: Path) -> EvalPassed:
    """A candidate whose verdict is awaited, and its verdict; what it was trained on does not matter here."""
    waiting = Judging(run=artifact.name, since=datetime.now(UTC))
    store = Store(home.settings.detectors_db)
    cause = Cause(id="judged", correlationid="judged")
    found = store.snapshot("pump", waiting.since, cause)
    assert found is not None
    nothing = Outcome(found[0], [], [])
    assert store.commit("pump", found[1], Status(judging=waiting), "judged", nothing)
    store.close()
    return EvalPassed(
        run=artifact.name, algorithm="isolation-forest", uri=str(artifact), version="1", gates=()
    )


def test_a_canary_that_rejects_requests_is_taken_back_by_its_alert(home: RunningHome, files: Path) -> None:
    """A canary of a whole hour: nothing but the alert ends it."""
    data = {"uri": f"{home.settings.data('pump')}/", "channels": list(SMALL)}
    apply(home, data=data, canary={"steps": [50], "every": "1h", "min_requests": 1_000_000})
    verdict = awaited(home, save_artifacts(files / "artifacts")["pump-a"])
    home.emit(verdict.type, codec.data(verdict))

    def rejected() -> bool:
        return home.predict([[1.0, 2.0, 3.0]]).status_code == 400

    def rolled_back() -> bool:
        rejected()
        return bool(home.events(CanaryRolledBack.type))

    home.until(rejected, 60, "the canary to answer")
    home.until(rolled_back, 60, "it to be taken back")
    asked = RollbackRequested(reason="alert HomeostatModelRejectsRequests", revision="pump-a")
    assert only(home, RollbackRequested) == asked
    assert (home.status()["serving"], home.status()["canary"]) == (None, None)
    home.until(lambda: home.events(AlertResolved.type), 60, "the alert to be over")
    home.until(lambda: not home.status()["incidents"], 20, "its incident to be closed")
