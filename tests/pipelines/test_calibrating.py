"""A candidate's calibration lies in its folder, and is the one that the drift host will ask for."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homeostat.functions.spec import Spec
from homeostat.infra.observing.drift_model import settings_of, shipped
from homeostat.models import artifact
from homeostat.models.simulator import CHANNELS, simulate
from homeostat.pipelines.calibrating import drift_settings, ship_calibration
from homeostat.pipelines.steps import fit_training
from homeostat.pipelines.taught import Training

DRIFTS: list[dict[str, Any]] = [
    {},
    {"test": "ks", "window": 200, "every": 20, "p_value": 0.001, "correction": "fdr"},
    {"test": "mmd-online", "expected_run_time": 9000, "season": "1d"},
    {"on": ["scores", "features", "errors"], "season": "auto"},
    {"season": "90m"},
]


def spec(drift: dict[str, Any], **features: Any) -> Spec:
    return Spec.model_validate(
        {
            "data": {"uri": "/d/", "channels": list(CHANNELS)},
            "drift": drift,
            "features": {"window": 10, **features},
        }
    )


def training(count: int) -> Training:
    frame = simulate(count, regime="commissioned", start=datetime(2026, 3, 1, 8), seed=9)
    rows = frame[list(CHANNELS)].to_numpy(float)
    rows[5::97, 2] = np.nan
    whole = np.arange(count) + 1_772_352_000
    return Training(rows, np.ones(count, bool), np.zeros(count, np.int64), whole)


@pytest.mark.parametrize("drift", DRIFTS)
@pytest.mark.parametrize("baseline", [0, 50])
def test_training_and_the_drift_host_read_a_spec_alike(drift: dict[str, Any], baseline: int) -> None:
    asked = spec(drift, baseline=baseline)
    assert drift_settings(asked.model_dump(mode="json")) == settings_of(asked)


def test_an_old_spec_is_read_with_defaults() -> None:
    stored = {"features": {"window": 10}, "drift": {"test": "mmd", "consecutive": 3}}
    assert drift_settings(stored) == settings_of(spec({}))
    assert drift_settings({"features": {}}) == settings_of(spec({}))


def test_the_host_tests_with_what_training_shipped(tmp_path: Path) -> None:
    asked = spec({"test": "ks", "window": 200, "on": ["features", "scores"]}, missing="hold:3")
    document, learn, folder = asked.model_dump(mode="json"), training(2000), tmp_path / "pump-1"
    fitted = fit_training("isolation-forest", learn, document, {}, 0)
    artifact.save(fitted, folder, {"run": "pump-1"})
    before = (folder / artifact.MANIFEST).read_bytes()
    assert ship_calibration(fitted, learn, document, folder)
    assert (folder / artifact.MANIFEST).read_bytes() == before
    assert artifact.load(folder).channels == CHANNELS
    found = shipped(folder).calibration
    assert found is not None
    assert found.settings == settings_of(asked)
    assert set(found.parts) == {"features", "scores"}
    start = found.parts["features"].times
    assert start is not None
    assert start.min() >= 1_772_352_000
    again = {one.name: one.read_bytes() for one in folder.iterdir()}
    assert ship_calibration(fitted, learn, document, folder)
    assert {one.name: one.read_bytes() for one in folder.iterdir()} == again, "a retried step changes nothing"


def test_rows_that_are_too_few_keep_nobody_from_training(tmp_path: Path) -> None:
    learn = training(200)
    fitted = fit_training("isolation-forest", learn, spec({}).model_dump(mode="json"), {}, 0)
    few = Training(learn.rows[:20], learn.teaches[:20], learn.segments[:20], learn.phase[:20])
    assert not ship_calibration(fitted, few, spec({}).model_dump(mode="json"), tmp_path)
    assert list(tmp_path.iterdir()) == []
