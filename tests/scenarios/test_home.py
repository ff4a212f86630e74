"""A home as its owner handles it: start, stop, start again, look inside."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from homeostat.eventing.messages import (
    ApprovalGiven,
    ApprovalRequested,
    InferenceRequest,
    InferenceResponse,
    ModelPromoted,
    TrainingCompleted,
)
from homeostat.infra.local.views import dead_letters
from tests.scenarios.homes import CHANNELS, RunningHome, rows


def cli(home: RunningHome, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "homeostat.infra.cli", *words, "--state", str(home.settings.state)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_sigterm_drains_and_ends_with_0_and_the_next_start_finds_everything(tmp_path: Path) -> None:
    home = RunningHome(tmp_path / "state")
    home.start()
    home.wait_healthy()
    home.apply()
    identity = home.emit("dev.homeostat.training.requested", {"reason": "too early"})
    home.until(lambda: home.status()["waiting"], 10, "the wish to be remembered")
    begun = time.monotonic()
    assert home.stop() == 0
    assert time.monotonic() - begun < 20
    home.start()
    try:
        home.wait_healthy()
        assert home.status()["waiting"]["reason"] == "too early"
        assert identity in {event.attributes["id"] for event in home.events()}
    finally:
        home.kill()


def test_a_second_home_on_the_same_state_is_refused_by_name(home: RunningHome) -> None:
    ended = cli(home, "up", "--port", "1")
    assert ended.returncode == 1
    assert "in use by process" in ended.stderr


def test_the_first_model_is_trained_promoted_and_answers_with_its_payloads_logged(
    home: RunningHome, files: Path
) -> None:
    block = rows(20, seed=5)[list(CHANNELS)].to_numpy(float).tolist()
    assert home.predict(block).status_code in (404, 503)
    home.land(rows(1600), "first.csv", files)
    home.until(lambda: home.events(TrainingCompleted.type), 120, "training.completed")
    home.until(lambda: home.predict(block).status_code == 200, 60, "the first answer")
    home.until(lambda: home.predict(block) and home.events(ModelPromoted.type), 60, "the promotion")
    answer = home.predict(block)
    assert len(answer.json()["predictions"]) == 20
    assert answer.headers["x-homeostat-revision"] == home.status()["serving"]["name"]
    logged = home.events(InferenceRequest.type, InferenceResponse.type)  # one look: more arrive meanwhile
    requests, responses = (
        {one.attributes["id"] for one in logged if one.attributes["type"] == kind.type}
        for kind in (InferenceRequest, InferenceResponse)
    )
    assert responses
    assert responses <= requests


def test_wrong_rows_get_a_400_with_the_expected_shape(home: RunningHome) -> None:
    answer = home.predict([[1.0, 2.0]])
    assert answer.status_code == 400
    assert "8" in answer.text


def test_metrics_of_broker_and_router_are_scraped_in_one_place(home: RunningHome) -> None:
    text = httpx.get(f"{home.settings.url}/metrics", timeout=5).text
    for name in ("homeostat_broker_accepted_total", "homeostat_router_requests_total"):
        assert name in text


def test_in_suggest_mode_a_training_waits_for_its_approval(home: RunningHome, files: Path) -> None:
    home.apply(
        "fan",
        mode="suggest",
        data={"uri": f"{home.settings.data('fan')}/", "channels": list(CHANNELS), "label": "anomaly"},
    )
    home.land(rows(1600), "fan.csv", files, detector="fan")
    (asked,) = home.until(lambda: home.events(ApprovalRequested.type), 20, "the question")
    listed = cli(home, "approve", "fan")
    assert asked.attributes["id"] in listed.stdout
    assert cli(home, "approve", "fan", "no-such-id").returncode == 3
    assert home.status("fan")["run"] is None
    assert cli(home, "approve", "fan", asked.attributes["id"], "--by", "ada").returncode == 0
    home.until(lambda: home.events(ApprovalGiven.type), 10, "the approval")
    home.until(lambda: home.status("fan")["run"], 20, "the run")


def test_a_logged_payload_that_nobody_can_read_is_a_dead_letter_with_its_reason(home: RunningHome) -> None:
    home.predict([[1.0, 2.0]])

    def letters() -> list[Any]:
        return [one for one in dead_letters(home.settings) if one["trigger"] == "detect-drift"]

    (letter, *_) = home.until(letters, 30, "the dead letter")
    assert "channels" in letter["reason"]
    table = cli(home, "dead")
    assert "detect-drift" in table.stdout


def test_events_and_status_read_well_by_programs(home: RunningHome) -> None:
    lines = cli(home, "events", "--output", "json").stdout.splitlines()
    assert all(json.loads(line)["type"] for line in lines)
    assert json.loads(cli(home, "status", "--output", "json").stdout)
