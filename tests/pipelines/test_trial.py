"""A trial, for real: rows on disk in, figures on standard output as Katib's collector reads them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest

from homeostat.functions.spec import Spec
from homeostat.pipelines.trial import main, measured, parsed
from homeostat.pipelines.tuning import TASK, Search, Trials, experiment

COLLECTOR = re.compile(r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)")
"""Katib's default filter of lines (field notes)."""


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("rows")
    random = np.random.default_rng(0)
    times = pd.date_range("2026-01-01", periods=900, freq="s")
    swing = np.sin(np.arange(900) / 7)
    frame = pd.DataFrame({"datetime": times, "a": swing, "b": -swing})
    frame[["a", "b"]] += random.normal(0, 0.1, (900, 2))
    frame.to_csv(folder / "rows.csv", index=False)
    document = {"data": {"uri": f"{folder}/", "channels": ["a", "b"]}, "features": {"window": 12}}
    search = Search(
        "pump-tune-1",
        "pump",
        "isolation-forest",
        [str(folder / "rows.csv")],
        Spec.model_validate(document).model_dump(mode="json"),
    )
    pod = experiment(search, Trials())["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
    found: dict[str, Any] = orjson.loads(pod["containers"][0]["env"][0]["value"])
    return found


def run(task: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, TASK: orjson.dumps(task).decode(), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "homeostat.pipelines.trial", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_trial_prints_every_figure_as_the_collector_reads_it(task: dict[str, Any]) -> None:
    done = run(task, "--window=8", "--scaler=standard", "--smoothing=2", "--trees=50", "--max_samples=64")
    assert done.returncode == 0, done.stderr
    figures = {
        found[1]: float(found[2]) for found in map(COLLECTOR.fullmatch, done.stdout.splitlines()) if found
    }
    assert len(figures) == len(done.stdout.splitlines())
    assert 0.3 < figures["vus_pr"] <= 1
    assert {"false_alarm_rate", "latency_ms", "f1"} <= figures.keys()


def test_parameters_change_what_is_measured(task: dict[str, Any]) -> None:
    one = measured(task, {"window": "4", "smoothing": "1"})
    other = measured(task, {"window": "24", "smoothing": "8"})
    assert one["vus_pr"] != other["vus_pr"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--trees=many"], "trees is 'many'"),
        (["--leaves=3"], "isolation-forest has no parameter leaves"),
        (["--window=600"], "a window of 600 needs"),
        (["trees"], "write --name=value"),
    ],
)
def test_a_trial_that_cannot_be_fitted_fails_and_says_why(
    task: dict[str, Any], capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(arguments, orjson.dumps(task).decode()) == 1
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == "", "a failed trial has no figures"


def test_an_objective_that_could_not_be_measured_is_a_failure(
    task: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    gate = {**task["spec"]["gate"], "metric": "nobody_measures_this"}
    changed = {**task, "spec": {**task["spec"], "gate": gate}}
    assert main(["--trees=50"], orjson.dumps(changed).decode()) == 1
    assert "nobody_measures_this could not be measured" in capsys.readouterr().err


def test_arguments_may_hold_anything_after_the_first_sign() -> None:
    assert parsed(["--members=a,b", "--statistic=q=t2"]) == {"members": "a,b", "statistic": "q=t2"}
