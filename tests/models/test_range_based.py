"""Range-based figures equal hand-computed ones and those of prts, the implementation in common use."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.models.range_based import range_based

from .marked import marked, spread


# Computed once with prts 1.0.0.3 (PyPI): ts_precision(alpha=0), ts_recall(alpha), reciprocal and flat.
@pytest.mark.parametrize(
    ("drawn", "precision", "recalls"),
    [
        ((1, 500, 10, 30), 0.19452815609002222, (0.5693678372249801, 0.6269228412085556, 0.8571428571428571)),
        (
            (2, 1000, 30, 15),
            0.14313842761985174,
            (0.3885277765712549, 0.41517004734396046, 0.5217391304347826),
        ),
        ((3, 60, 2, 40), 0.23809523809523808, (0.65, 0.72, 1.0)),
        ((4, 3000, 5, 400), 0.52, (0.3100964643002613, 0.3814105047735423, 0.6666666666666666)),
    ],
)
def test_figures_equal_those_of_prts(drawn, precision, recalls):
    seed, n, count, longest = drawn
    labels, alarms = marked(*drawn), marked(seed + 100, n, 2 * count, longest)
    for existence, recall in zip((0, 0.2, 1), recalls, strict=True):
        found = range_based(alarms, labels, existence)
        assert (found.precision, found.recall) == (pytest.approx(precision), pytest.approx(recall))


def test_an_anomaly_told_in_two_pieces_is_worth_half_of_what_they_cover():
    labels = spread(20, (5, 15))
    whole, pieces = spread(20, (5, 13)), spread(20, (5, 9), (11, 15))
    assert range_based(whole, labels, existence=0).recall == pytest.approx(0.8)
    assert range_based(pieces, labels, existence=0).recall == pytest.approx(0.4)


def test_every_range_counts_the_same_however_long():
    labels = spread(1000, (0, 900), (950, 952))
    assert range_based(spread(1000, (950, 952)), labels, existence=0) == (1.0, 0.5)


def test_any_overlap_earns_the_existence_reward():
    labels = spread(100, (0, 50))
    assert range_based(spread(100, (49, 60)), labels, existence=1).recall == 1.0
    assert range_based(spread(100, (50, 60)), labels, existence=1).recall == 0.0


@given(seed=st.integers(0, 999), n=st.integers(1, 60))
def test_figures_stay_between_nought_and_one_and_a_perfect_answer_reaches_one(seed, n):
    labels, alarms = marked(seed, n, 3, 12), marked(seed + 1, n, 3, 12)
    found = range_based(alarms, labels)
    assert 0 <= found.precision <= 1
    assert 0 <= found.recall <= 1
    assert 0 <= found.f1 <= 1
    assert range_based(labels, labels) == (1.0, 1.0)


def test_without_labels_there_are_no_figures_and_without_alarms_no_precision():
    assert range_based(np.ones(5), np.zeros(5)) is None
    found = range_based(np.zeros(5), np.ones(5))
    assert (found.precision, found.recall, found.f1) == (None, 0.0, 0.0)


@pytest.mark.parametrize(
    ("alarms", "existence", "said"), [(np.ones(3), 0.2, "one per row"), (np.ones(2), 1.5, "existence is 1.5")]
)
def test_bad_input_is_refused(alarms, existence, said):
    with pytest.raises(ValueError, match=said):
        range_based(alarms, np.ones(2), existence)
