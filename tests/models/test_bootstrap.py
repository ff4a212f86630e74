"""How sure a difference between two models is: paired, over blocks, from sums that equal the metrics."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from homeostat.models import metrics, tallies
from homeostat.models.alarm_figures import alarm_figures
from homeostat.models.bootstrap import Answers, Metric, compare, draws, pieces

METRICS = get_args(Metric)
BLOCK = 60


def world(rows: int, seed: int, *skills: float) -> tuple[NDArray[np.bool_], list[Answers]]:
    """Labels with events of 15 to 60 rows, and a model for each skill: scores hang together over 30 rows, and
    rise in each event by as much as chance and skill say."""
    rng = np.random.default_rng(seed)
    labels, at = np.zeros(rows, bool), 60
    while at < rows - 60:
        length = int(rng.integers(15, 60))
        labels[at : at + length] = True
        at += length + 10 + int(rng.exponential(150))
    event = np.cumsum(np.diff(labels.astype(int), prepend=0) == 1)
    models = []
    for skill in skills:
        noise = np.convolve(rng.normal(size=rows + 29), np.ones(30) / 30**0.5, "valid")
        scores = noise + labels * skill * rng.exponential(1.5, event[-1] + 1)[event]
        models.append(Answers(scores, scores > 2))
    return labels, models


def some(draw: st.DataObject) -> tuple[Any, Any, Any]:
    size = draw.draw(st.integers(20, 120))
    labels = draw.draw(st.lists(st.booleans(), min_size=size, max_size=size).filter(any))
    scores = draw.draw(st.lists(st.integers(0, 9), min_size=size, max_size=size))
    return np.array(labels), np.array(scores, float), pieces(np.array(labels), 8)


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_sums_over_blocks_that_come_once_each_are_the_metric(draw: st.DataObject) -> None:
    labels, scores, blocks = some(draw)
    once = np.ones((1, blocks[-1] + 1))
    alarms = scores > 5
    for found, known in (
        (tallies.vus_pr(scores, labels, blocks), metrics.vus_pr(scores, labels)),
        (tallies.average_precision(scores, labels, blocks), metrics.average_precision(scores, labels)),
        (tallies.f1(alarms, labels, blocks), alarm_figures(alarms, labels)["f1"]),
    ):
        assert found(once) == pytest.approx([known], abs=1e-5)


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_a_block_that_is_drawn_twice_counts_as_its_rows_twice(draw: st.DataObject) -> None:
    labels, scores, blocks = some(draw)
    size = int(blocks[-1]) + 1
    counts = np.array(draw.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size)))
    rows = np.repeat(np.arange(len(labels)), counts[blocks])
    found = tallies.average_precision(scores, labels, blocks)(counts[None].astype(float))[0]
    flagged = tallies.f1(scores > 5, labels, blocks)(counts[None].astype(float))[0]
    if labels[rows].any():
        assert found == pytest.approx(metrics.average_precision(scores[rows], labels[rows]))
        assert flagged == pytest.approx(alarm_figures(scores[rows] > 5, labels[rows])["f1"])
    else:
        assert np.isnan([found, flagged]).all()


@given(st.lists(st.booleans(), min_size=1, max_size=200), st.integers(1, 50))
def test_no_event_is_cut_and_every_row_is_in_the_piece_after_the_last_ones(
    flags: list[bool], most: int
) -> None:
    truth = np.array(flags)
    piece = pieces(truth, most)
    steps = np.diff(piece)
    assert set(steps) <= {0, 1}
    assert piece[0] == 0
    assert piece[-1] < most
    assert not (steps.astype(bool) & truth[1:] & truth[:-1]).any()


def test_runs_are_as_long_as_asked_on_average_and_every_resample_is_as_large_as_the_whole() -> None:
    counts = draws(100, 10.0, 200, seed=1)
    assert (counts.sum(axis=1) == 100).all()
    assert np.array_equal(counts, draws(100, 10.0, 200, seed=1))
    # Pieces beside each other are drawn together, but where a run begins or ends.
    together = np.corrcoef(counts[:, 10:90].ravel(), counts[:, 11:91].ravel())[0, 1]
    alone = draws(100, 1.0, 200, seed=1)
    assert together > 0.7
    assert abs(np.corrcoef(alone[:, 10:90].ravel(), alone[:, 11:91].ravel())[0, 1]) < 0.1


def interval(
    candidate: Answers, champion: Answers, *, labels: NDArray[Any], metric: Metric, **more: Any
) -> tuple[float, float, float]:
    """(low, estimate, high)."""
    found = compare(candidate, champion, labels, metric, block=BLOCK, **more)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    return found.low, found.estimate, found.high


@pytest.mark.parametrize("metric", METRICS)
def test_a_model_is_exactly_as_good_as_itself(metric: Metric) -> None:
    labels, (one,) = world(2000, 0, 1.0)
    assert interval(one, one, labels=labels, metric=metric) == (0, 0, 0)


@pytest.mark.parametrize("metric", METRICS)
def test_a_plainly_better_model_is_surely_better_and_the_other_one_surely_worse(metric: Metric) -> None:
    labels, (good, poor) = world(4000, 1, 3.0, 0.2)
    low, better, high = interval(good, poor, labels=labels, metric=metric)
    assert 0 < low <= better <= high
    assert interval(poor, good, labels=labels, metric=metric) == pytest.approx((-high, -better, -low))


def test_of_equal_models_most_intervals_hold_that_they_are() -> None:
    held = 0
    for seed in range(60):
        labels, models = world(3000, 100 + seed, 1.0, 1.0)
        low, _, high = interval(*models, labels=labels, metric="f1", resamples=200)
        held += low <= 0 <= high
    assert held >= 50


def test_more_confidence_is_a_wider_interval() -> None:
    labels, models = world(3000, 5, 1.0, 1.5)
    wide, narrow = (interval(*models, labels=labels, metric="f1", confidence=one) for one in (0.99, 0.8))
    assert wide[0] < narrow[0] < narrow[2] < wide[2]


def test_without_an_anomaly_nothing_is_said_and_of_two_events_no_interval() -> None:
    _, (one, other) = world(2000, 6, 1.0, 1.0)
    labels = np.zeros(2000, bool)
    assert compare(one, other, labels, "vus_pr", block=BLOCK) is None
    labels[50:60] = labels[900:950] = True
    found = compare(one, other, labels, "vus_pr", block=BLOCK)
    assert found is not None
    assert (found.low, found.high) == (None, None)
