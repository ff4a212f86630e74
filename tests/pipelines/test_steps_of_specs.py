"""What a spec says of time, gaps, features and thresholds is what the steps do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from homeostat.models import artifact
from homeostat.models.fitted import Fitted
from homeostat.models.simulator import CHANNELS
from homeostat.pipelines import steps
from homeostat.pipelines.taught import Training
from tests.pipelines.test_steps import rows, spec

HOLD: dict[str, Any] = {"features": {"missing": "hold:3"}}


def with_gaps(count: int = 1000) -> pd.DataFrame:
    """Single numbers are missing, and the first channel's for ten rows at 200, for ten at 900, and one at
    the first row that judges."""
    frame = rows(count, faults=0.0)
    rng = np.random.default_rng(5)
    for name in CHANNELS:
        frame.loc[rng.choice(count, count // 50, replace=False), name] = np.nan
    for start, stop in ((200, 209), (900, 909), (700, 700)):
        frame.loc[start:stop, CHANNELS[0]] = np.nan
    return frame


def test_times_without_an_offset_are_taken_where_the_spec_says(tmp_path: Path) -> None:
    rows(100).to_csv(tmp_path / "a.csv", sep=";", index=False)
    document = spec(tmp_path)
    document["data"]["timezone"] = "Europe/Berlin"
    first = steps.gather([str(tmp_path / "a.csv")], document)["datetime"].iloc[0]
    assert first == pd.Timestamp("2026-03-01T07:00:00Z")


def test_rows_that_lack_a_number_stay_only_when_it_is_held(tmp_path: Path) -> None:
    frame = rows(200, faults=0.0)
    frame.loc[5, CHANNELS[1]] = np.nan
    frame.to_csv(tmp_path / "a.csv", sep=";", index=False)
    uris = [str(tmp_path / "a.csv")]
    assert len(steps.gather(uris, spec(tmp_path))) == 199
    held = steps.gather(uris, spec(tmp_path, **HOLD))
    assert len(held) == 200
    assert np.isnan(held[CHANNELS[1]][5])


def test_rows_that_lack_a_number_for_longer_than_it_is_held_neither_teach_nor_judge(tmp_path: Path) -> None:
    training, held = steps.split(with_gaps().assign(teaches=True), spec(tmp_path, **HOLD), seed=0)
    lacking = np.isnan(training.rows)
    assert lacking.any()
    assert len(training.rows) == 700 - 7
    assert len(held.rows) == 300 - 7
    assert training.segments[202] != training.segments[203]
    assert held.segments[202] != held.segments[203]


def test_what_a_source_does_not_send_is_missing_among_injected_anomalies_too(tmp_path: Path) -> None:
    frame = with_gaps().assign(teaches=True)
    _, held = steps.split(frame, spec(tmp_path, **HOLD), seed=0)
    sent = np.isfinite(frame[list(CHANNELS)].to_numpy()[700:])
    kept = np.delete(sent, slice(203, 210), axis=0)
    assert held.judged_on == "injected"
    assert (np.isfinite(held.rows) == kept).all()


@pytest.mark.parametrize("algorithm", ["isolation-forest", "sub-pca"])
def test_a_detector_that_holds_learns_from_rows_with_gaps_nearly_as_well_as_without(
    tmp_path: Path, algorithm: str
) -> None:
    found, document = [], spec(tmp_path, **HOLD)
    for frame in (rows(3000, faults=0.0), with_gaps(3000)):
        training, held = steps.split(frame.assign(teaches=True), document, seed=0)
        model = steps.fit_training(algorithm, training, document, {}, 0)
        found.append(steps.measure(model, held)["average_precision"])
    whole, gappy = (one or 0.0 for one in found)
    assert str(model.preparation.missing) == "hold:3"
    assert gappy > 0.8 * whole > 0.25


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fitted, str]:
    """A forest that refuses rows with gaps, and where it lies."""
    folder = tmp_path_factory.mktemp("strict")
    calm, document = rows(1000, faults=0.0)[list(CHANNELS)].to_numpy(float), spec(folder)
    document["features"]["missing"] = "refuse"
    model = steps.fit("isolation-forest", calm, np.zeros(1000, int), document, {}, 0)
    artifact.save(model, folder / "model", {})
    return model, str(folder / "model")


def test_a_champion_that_refuses_gaps_screens_and_is_measured_all_the_same(
    tmp_path: Path, strict: tuple[Fitted, str]
) -> None:
    model, uri = strict
    document, frame = spec(tmp_path, label=None, **HOLD), with_gaps().drop(columns="anomaly")
    frame.loc[500:599, list(CHANNELS)] += 50 * frame[list(CHANNELS)].std()
    screened, figures = steps.screen(frame, document, uri)
    assert not screened.loc[520:590, "teaches"].any()
    assert figures["quarantined"] < 300
    _, held = steps.split(screened, document, seed=0)
    assert steps.measure(model, held)["false_alarm_rate"] is not None


def test_a_row_that_a_model_refuses_has_the_score_of_the_one_before_it(strict: tuple[Fitted, str]) -> None:
    model, _ = strict
    calm = rows(60, faults=0.0, seed=4)[list(CHANNELS)].to_numpy(float)
    calm[40, 2] = np.nan
    found = steps.gaps.scores(model, calm)
    assert found[40] == found[39]
    assert np.array_equal(found[:40], model.score(calm[:40]))
    assert steps.gaps.scores(model, np.full((5, len(CHANNELS)), np.nan)).tolist() == [0.0] * 5


def test_features_and_threshold_are_those_of_the_spec(tmp_path: Path) -> None:
    document = spec(
        tmp_path,
        features={
            "scaler": "standard",
            "decompose": "stl",
            "periods": [25],
            "statistics": ["mean:5"],
            "missing": "hold:2",
            "baseline": 100,
        },
        threshold={"method": "conformal", "false_alarm_rate": 0.2, "smoothing": 4, "min_duration": 3},
    )
    training, _ = steps.split(rows(1000, faults=0.0).assign(teaches=True), document, seed=0)
    model = steps.fit_training("sub-pca", training, document, {}, 0)
    settings = model.preparation.settings()
    assert settings["scaler"] == "standard"
    assert (settings["decompose"], settings["periods"], settings["clocked"]) == ("stl", [25], True)
    assert (settings["statistics"], settings["missing"]) == (["mean:5"], "hold:2")
    assert settings["baseline"] == 100
    assert (model.smoothing, model.min_duration) == (4, 3)
    document["threshold"]["false_alarm_rate"] = 0.01
    assert steps.fit_training("sub-pca", training, document, {}, 0).threshold > model.threshold


def test_a_spec_from_before_these_features_fits_as_it_did(tmp_path: Path) -> None:
    document = spec(tmp_path)
    training, _ = steps.split(rows(1000, faults=0.0).assign(teaches=True), document, seed=0)
    today = steps.fit_training("sub-pca", training, document, {}, 0)
    older = {"data": document["data"], "features": {"window": 20, "scaler": "robust"}}
    assert steps.fit_training("sub-pca", training, older, {}, 0).threshold == today.threshold


def test_a_season_is_served_without_a_clock(tmp_path: Path) -> None:
    document = spec(tmp_path, features={"decompose": "stl", "periods": [25]})
    training, held = steps.split(rows(1000, faults=0.0).assign(teaches=True), document, seed=0)
    model = steps.fit_training("sub-pca", training, document, {}, 0)
    assert np.isfinite(model.score(held.rows)).all()


def test_alarms_are_counted_as_they_would_be_raised(tmp_path: Path) -> None:
    document = spec(tmp_path, threshold={"false_alarm_rate": 0.3})
    training, held = steps.split(rows(1000, faults=0.0).assign(teaches=True), document, seed=0)
    hasty = steps.fit_training("sub-pca", training, document, {}, 0)
    patient = replace(hasty, min_duration=40)
    scores = patient.score(held.rows, held.segments)
    raised = patient.anomalies(scores, held.segments)
    measured = steps.measure(patient, held)
    assert measured["false_alarm_rate"] == raised[~held.labels].mean()
    early = steps.measure(hasty, held)["false_alarm_rate"]
    assert early is not None
    assert early > raised[~held.labels].mean()
    assert measured["recall"] == raised[held.labels].mean()


def labelled(frame: pd.DataFrame, *starts: int) -> pd.DataFrame:
    """With plain faults of 20 rows from these on, and their labels."""
    size = 30 * frame[list(CHANNELS)].std()
    for start in starts:
        frame.loc[start : start + 19, list(CHANNELS)] += size
        frame.loc[start : start + 19, "anomaly"] = 1
    return frame


def test_labelled_anomalies_are_not_fitted_but_can_raise_the_threshold(tmp_path: Path) -> None:
    document = spec(tmp_path, threshold={"false_alarm_rate": 0.2})
    frame = labelled(rows(1000, faults=0.0), 200, 300, 400, 720, 800, 900)
    training, held = steps.split(steps.screen(frame, document, "")[0], document, seed=0)
    assert held.judged_on == "labels"
    assert len(training.normal[0]) == 640
    assert training.labelled is not None
    assert int(training.labelled.labels.sum()) == 60
    taught = steps.fit_training("sub-pca", training, document, {}, 0)
    calm, segments, phase = training.normal
    untaught = steps.fit("sub-pca", calm, segments, document, {}, 0, phase)
    assert taught.threshold > untaught.threshold
    assert taught.preparation.arrays()["center"].tolist() == untaught.preparation.arrays()["center"].tolist()


def test_labels_too_few_to_judge_by_raise_no_threshold(tmp_path: Path) -> None:
    frame = labelled(rows(1000, faults=0.0), 200, 720)
    training, held = steps.split(steps.screen(frame, spec(tmp_path), "")[0], spec(tmp_path), seed=0)
    assert held.judged_on == "injected"
    assert training.labelled is None
    assert len(training.rows) == 680


def test_what_is_suspected_but_not_labelled_has_no_say(tmp_path: Path) -> None:
    frame = rows(1000, faults=0.0).assign(teaches=True)
    frame.loc[300:349, "teaches"] = False
    training, _ = steps.split(frame, spec(tmp_path), seed=0)
    assert training.labelled is None
    assert len(training.rows) == 650
    assert training.segments[299] != training.segments[300]


def test_rows_to_learn_from_survive_the_file(tmp_path: Path) -> None:
    frame = labelled(rows(1000, faults=0.0), 300, 720, 800, 900)
    screened, _ = steps.screen(frame, spec(tmp_path), "")
    training, _ = steps.split(screened, spec(tmp_path), seed=0)
    training.save(str(tmp_path / "training"))
    again = Training.load(str(tmp_path / "training"))
    for name in ("rows", "teaches", "segments", "phase"):
        assert np.array_equal(getattr(again, name), getattr(training, name))
    assert not again.teaches.all()
