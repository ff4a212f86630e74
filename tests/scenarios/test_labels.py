"""People tell a running home what rows were: its figures follow, and when recall has surely fallen, an alert
fires and is resolved once the labels are corrected."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import pytest

from homeostat.eventing.messages import AlertFired, AlertResolved, EvalPassed, QualityMeasured
from homeostat.functions.detector import Cause, Judging
from homeostat.infra.local.store import Store
from homeostat.infra.outcome import Outcome
from homeostat.models import artifact
from homeostat.models.fitting import fit
from homeostat.models.simulator import CHANNELS
from tests.scenarios.homes import RunningHome, rows

LABEL = "dev.homeostat.label.received"
QUALITY = {"min_recall": 0.9, "min_labels": 20, "every": "500ms"}


@pytest.fixture(scope="module")
def serving(home: RunningHome) -> RunningHome:
    """A home in which a model serves that was not trained there: that would take most of the time."""
    home.apply(quality=QUALITY, alerts=[{"match": {"figure": "recall"}, "action": "ignore"}])
    folder = home.settings.state / "models" / "pump-first"
    fitted = fit("isolation-forest", rows(1000)[list(CHANNELS)].to_numpy(), channels=CHANNELS, window=20)
    artifact.save(fitted, folder, {"version": "1"})
    await_candidate(home, "pump-first")
    gate = {"name": "vus_pr", "measured": 0.6, "limit": 0.4, "rule": ">=", "passed": True}
    made = {"run": "pump-first", "algorithm": "isolation-forest", "uri": str(folder), "version": "1"}
    home.emit(EvalPassed.type, {**made, "gates": [gate]})
    usual = rows(20, seed=3, faults=0.0)[list(CHANNELS)].to_numpy().tolist()

    def served() -> Any:
        home.predict(usual)  # a first revision is on trial too
        return home.status()["serving"]

    home.until(served, 60, "the first model to serve")
    return home


def await_candidate(home: RunningHome, run: str) -> None:
    """The Detector as it is when the gates of that run are looked at."""
    store, now = Store(home.settings.detectors_db), datetime.now(UTC)
    found = store.snapshot("pump", now, Cause(id="t", correlationid="t"))
    assert found is not None
    pump, version = found
    status = pump.status.model_copy(update={"judging": Judging(run=run, since=now)})
    assert store.commit("pump", version, status, "t", Outcome(pump, [], []))
    store.close()


def ask(home: RunningHome, identity: str, block: list[list[float]]) -> list[bool]:
    """What the revision said of each row of the request of that id."""
    url = f"{home.settings.url}/serving/pump/v1/models/pump:predict"
    answer = httpx.post(url, json={"instances": block}, headers={"ce-id": identity}, timeout=10)
    assert answer.status_code == 200
    return [one["anomaly"] for one in answer.json()["predictions"]]


def quality(home: RunningHome) -> Any:
    return home.status()["quality"].get(home.status()["serving"]["name"])


def command(home: RunningHome, *words: str) -> Any:
    own = [
        sys.executable,
        "-m",
        "homeostat.infra.cli",
        *words,
        "--state",
        str(home.settings.state),
        "-o",
        "json",
    ]
    done = subprocess.run(own, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_labels_become_figures_and_what_has_fallen_fires_an_alert(serving: RunningHome) -> None:
    home = serving
    frame = rows(60, seed=7, faults=0.0)[list(CHANNELS)]
    flags = ask(home, "r-1", frame.to_numpy().tolist())
    flagged, passed = sum(flags), 60 - sum(flags)
    assert passed > 30

    command(home, "label", "pump", "--request", "r-1", "--anomalous", "--by", "ada")
    found = home.until(lambda: quality(home), 20, "the labels to be counted")
    assert (found["caught"], found["missed"]) == (flagged, passed)
    fired = home.until(lambda: home.events(AlertFired.type), 20, "recall's alert")
    data = orjson.loads(fired[0].data)
    assert data["alertname"] == "HomeostatQualityFell"
    assert data["labels"]["figure"] == "recall"
    home.until(lambda: home.status()["incidents"], 20, "the incident")

    # Everybody was wrong: only what it flagged was anomalous.
    home.emit(
        LABEL, {"anomalous": False, "request": "r-1", "rows": [i for i, one in enumerate(flags) if not one]}
    )
    home.until(lambda: quality(home)["missed"] == 0, 20, "the correction")
    assert (quality(home)["caught"], quality(home)["passed"]) == (flagged, passed)

    # Rows of another request, some of them, before it was made.
    home.emit(LABEL, {"anomalous": True, "request": "r-2", "rows": [0]})
    broken = frame.copy()
    broken.iloc[:, :] = frame.max().to_numpy() * 20
    assert all(ask(home, "r-2", broken.to_numpy().tolist()))
    home.until(lambda: quality(home)["caught"] == flagged + 1, 20, "the label that came before its rows")
    home.until(lambda: home.events(AlertResolved.type), 20, "recall to be well again")
    home.until(lambda: not home.status()["incidents"], 20, "the incident to be over")
    assert len(home.events(AlertFired.type)) == 1

    report = command(home, "quality", "pump")
    (one,) = report["revisions"]
    assert (one["role"], one["labelled"], one["anomalous"]) == ("serving", 61, flagged + 1)
    assert one["recall"]["value"] == 1.0
    assert one["recall"]["low"] < 1.0
    measured = [orjson.loads(event.data) for event in home.events(QualityMeasured.type)]
    assert measured[-1]["labelled"] == 61
    assert measured[-1]["figures"]["recall"] == 1.0


def test_a_label_of_nothing_is_a_dead_letter_that_says_why(serving: RunningHome) -> None:
    home = serving
    home.emit(LABEL, {"anomalous": True, "start": "yesterday", "end": "2026-01-01T00:00:00Z"})

    def dead() -> list[Any]:
        said = command(home, "dead", "list")
        return [one for one in said if one["type"] == LABEL]

    (letter,) = home.until(dead, 20, "the dead letter")
    assert "data.start" in json.dumps(letter)
