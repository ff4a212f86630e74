"""A fitted detector scores every row, names what is wrong with bad ones, and keeps its false-alarm rate."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.models import ALGORITHMS
from homeostat.models.calibration import COSTLY
from homeostat.models.fitting import fit
from homeostat.models.metrics import report
from tests.models.quick import QUICK

CHANNELS = ("flow", "heat", "hum")
every = pytest.mark.parametrize("name", list(ALGORITHMS))
costly_ones_slowly = pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.slow if one in COSTLY else ()) for one in ALGORITHMS]
)


def stationary(n, seed=0, memory=0.7):
    """Three autocorrelated channels on levels and scales of their own."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 3))
    for t in range(1, n):
        rows[t] += memory * rows[t - 1]
    return rows * [1.0, 20.0, 0.01] + [0.0, 80.0, -3.0]


@pytest.fixture(scope="module")
def detectors():
    return {
        name: fit(name, stationary(800), channels=CHANNELS, window=10, parameters=QUICK[name])
        for name in ALGORITHMS
    }


@costly_ones_slowly
def test_false_alarms_on_fresh_normal_rows_are_near_the_rate_asked_for(name):
    rates = []
    for seed in range(4 if name in COSTLY else 8):  # neighbouring scores are alike, so one fit tells little
        detector = fit(
            name,
            stationary(4000, seed=seed),
            channels=CHANNELS,
            window=10,
            parameters=QUICK[name],
            false_alarm_rate=0.05,
        )
        rates.append(detector.anomalies(detector.score(stationary(4000, seed=100 + seed))).mean())
    assert 0.02 < np.mean(rates) < 0.06  # below rather than above: the level of few scores wanders by chance


@every
def test_a_slow_drift_in_the_calibration_rows_is_allowed_for(name):
    """Warming up went on all the while that it was fitted and calibrated; that it goes on is no alarm."""
    rows = stationary(4000, seed=1)
    rows[:, 1] += np.linspace(0, 60, 4000)
    detector = fit(name, rows[:3000], channels=CHANNELS, window=10, parameters=QUICK[name])
    assert detector.anomalies(detector.score(rows[3000:3400])).mean() < 0.15


@pytest.mark.parametrize(
    "name", [one for one in ALGORITHMS if one != "sub-pca"]
)  # these rows have no relations
def test_a_level_shift_is_found(name, detectors):
    detector = detectors[name]
    rows = stationary(600, seed=5)
    labels = np.zeros(600)
    rows[300:400] += np.array([8.0, 160.0, 0.08])
    labels[300:409] = 1  # nine more windows hold the end of it
    figures = report(detector.score(rows), labels, detector.threshold)
    assert figures["average_precision"] > 0.85
    assert report(detector.score(rows)[:400], labels[:400], detector.threshold)["recall"] > 0.9


@every
def test_each_row_is_scored_by_the_window_that_ends_there(name, detectors):
    detector = detectors[name]
    rows = stationary(60, seed=6)
    scores = detector.score(rows)
    assert len(scores) == 60
    for last in (9, 30, 59):
        assert detector.score(rows[last - 9 : last + 1])[-1] == pytest.approx(scores[last], rel=1e-5)


@every
def test_rows_before_the_first_window_are_scored_as_if_the_first_had_lasted(name, detectors):
    detector = detectors[name]
    rows = stationary(20, seed=7)
    lasted = np.vstack([np.repeat(rows[:1], 9, axis=0), rows])
    assert detector.score(rows) == pytest.approx(detector.score(lasted)[9:], rel=1e-5)


@every
@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=5))
def test_segments_are_scored_as_if_each_came_alone(name, detectors, lengths):
    detector = detectors[name]
    rows = stationary(sum(lengths), seed=8)
    segments = np.repeat(np.arange(len(lengths)), lengths)
    alone = [detector.score(part) for part in np.split(rows, np.cumsum(lengths)[:-1])]
    assert detector.score(rows, segments) == pytest.approx(np.concatenate(alone), rel=1e-5)


def test_no_rows_give_no_scores(detectors):
    assert detectors["isolation-forest"].score(np.empty((0, 3))).shape == (0,)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_cell_that_is_no_number_is_named_by_row_and_channel(detectors, value):
    rows = stationary(20)
    rows[7, 1] = value
    with pytest.raises(ValueError, match=rf"row 7, channel 'heat' is {value}: fill or drop such cells"):
        detectors["isolation-forest"].score(rows)


@pytest.mark.parametrize("rows", [np.zeros((5, 2)), np.zeros((5, 4)), np.zeros(3)])
def test_another_number_of_channels_is_refused_with_their_order(detectors, rows):
    with pytest.raises(ValueError, match="in the order of the channels flow, heat, hum"):
        detectors["isolation-forest"].score(rows)


def test_rows_of_text_are_refused(detectors):
    with pytest.raises(ValueError, match="not all numbers"):
        detectors["isolation-forest"].score(np.array([["warm", "1", "2"]]))


def test_reference_is_the_held_back_end_of_the_longest_segment_in_raw_units():
    rows = stationary(900)
    segments = np.repeat([0, 1], [300, 600])
    detector = fit("isolation-forest", rows, channels=CHANNELS, window=10, segments=segments)
    assert detector.reference.dtype == np.float32
    assert (detector.reference == rows[750:].astype(np.float32)).all()


def test_rows_that_the_threshold_is_set_on_are_not_fitted():
    """Rows unlike any before them in the held-back quarter lift the threshold; fitted, they would not."""
    rows = stationary(800)
    changed = rows.copy()
    changed[600:] += [5.0, 100.0, 0.05]
    usual, lifted = (
        fit("isolation-forest", one, channels=CHANNELS, window=10).threshold for one in (rows, changed)
    )
    assert lifted > usual + 0.05


def test_segments_too_short_for_fitting_are_left_out():
    rows = stationary(800)
    segments = np.repeat([0, 1], [785, 15])
    rows[785:] = 1e6
    with_short = fit("isolation-forest", rows, channels=CHANNELS, window=10, segments=segments)
    without = fit("isolation-forest", rows[:785], channels=CHANNELS, window=10)
    assert with_short.threshold == without.threshold


@pytest.mark.parametrize("window", [1, 5, 30])
def test_the_fewest_rows_it_says_it_needs_are_enough(window):
    fewest = 2 * window + 8
    fit("isolation-forest", stationary(fewest), channels=CHANNELS, window=window)
    with pytest.raises(ValueError, match=f"needs {fewest} consecutive rows"):
        fit("isolation-forest", stationary(fewest - 1), channels=CHANNELS, window=window)


def test_all_channels_constant_fit_and_score_without_alarm():
    rows = np.full((200, 3), 7.0)
    for name in ALGORITHMS:
        detector = fit(name, rows, channels=CHANNELS, window=5, parameters=QUICK[name])
        assert not detector.anomalies(detector.score(rows)).any()


def test_single_rows_without_a_past_raise_few_false_alarms(detectors):
    for name, detector in detectors.items():
        if name == "matrix-profile":  # a single row, repeated, has no shape that could be known
            continue
        alone = np.concatenate([detector.score(row[None]) for row in stationary(300, seed=9)])
        assert detector.anomalies(alone).mean() < 0.25


def test_repeated_channel_names_are_refused():
    with pytest.raises(ValueError, match="channels repeat a name"):
        fit("isolation-forest", stationary(100), channels=("a", "a", "b"), window=5)


@costly_ones_slowly
def test_it_finds_the_anomalies_of_a_real_pump(name, shared):
    """Fitted on the first 400 s of three SKAB runs, a fraction of what the full benchmark does."""
    figures = []
    for run in ("valve1/0", "valve1/3", "other/9"):
        frame = pd.read_csv(shared / "data" / "skab" / f"{run}.csv", sep=";")
        channels = tuple(frame.columns[1:-2])
        rows, labels = frame[list(channels)].to_numpy(), frame["anomaly"].to_numpy()
        detector = fit(name, rows[:400], channels=channels, window=30)
        figures.append(report(detector.score(rows)[400:], labels[400:], detector.threshold))
    share = 0.52  # of anomalous rows: what scores that say nothing would reach
    assert np.mean([one["average_precision"] for one in figures]) > share + 0.15
    assert np.mean([one["vus_pr"] for one in figures]) > share + 0.15
