"""The demo's story, told by the command that users run, and held to what it promises."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from homeostat.eventing.messages import (
    CanaryRolledBack,
    DriftDetected,
    EvalFailed,
    ModelPromoted,
    TrainingCompleted,
)

LIMIT_SECONDS = 360


def tell(state: Path, *flags: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "homeostat.infra.cli", "demo", "--output", "json"]
    ended = subprocess.run(
        [*command, "--state", str(state), *flags], capture_output=True, text=True, timeout=600, check=False
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    document: dict[str, Any] = json.loads(ended.stdout)
    return document


def hold(report: dict[str, Any]) -> None:
    """What the demo shows, whichever data it tells it on."""
    first, fresh = report["promoted"]
    order = [one["type"] for one in report["events"]]
    assert order.index(ModelPromoted.type) < order.index(EvalFailed.type) < order.index(DriftDetected.type)
    assert order.count(TrainingCompleted.type) == len(report["revisions"]) == 4
    fates = [one["fate"] for one in report["revisions"]]
    assert fates == ["promoted", "stopped at the gate", "promoted", "rolled back"]
    stopped = next(one for one in report["events"] if one["type"] == EvalFailed.type)
    assert any(gate["measured"] is not None and not gate["passed"] for gate in stopped["data"]["gates"])
    taken_back = next(one for one in report["events"] if one["type"] == CanaryRolledBack.type)
    assert [taken_back["data"]["revision"]] == report["rolled_back"]
    assert report["serving"] == fresh != first
    assert report["requests"]["failed"] == 0
    for metric in ("average_precision", "vus_pr"):
        assert report["quality_fresh"][metric] > report["quality_stale"][metric] + 0.1
    assert report["quality_fresh"]["false_alarm_rate"] < report["quality_stale"]["false_alarm_rate"]
    assert report["seconds"]["total"] < LIMIT_SECONDS


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_simulated_story_holds_and_why_prints_its_unbroken_chain(tmp_path: Path) -> None:
    hold(tell(tmp_path / "state"))
    command = [sys.executable, "-m", "homeostat.infra.cli", "why", "pump", "--output", "json"]
    state = ["--state", str(tmp_path / "state")]
    ended = subprocess.run([*command, *state], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    links = json.loads(ended.stdout)
    assert "causationid" not in links[0]
    assert links[-1]["type"] == ModelPromoted.type
    assert DriftDetected.type in [link["type"] for link in links]
    for cause, effect in pairwise(links):
        assert effect["causationid"] == cause["id"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_same_story_holds_on_skab(tmp_path: Path, shared: Path) -> None:
    hold(tell(tmp_path / "state", "--data", str(shared / "data" / "skab")))


def test_a_folder_that_is_no_skab_says_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "homeostat.infra.cli", "demo", "--data", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "anomaly-free" in ended.stderr
