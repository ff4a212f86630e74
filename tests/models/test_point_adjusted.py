"""Point-adjusted F1 comes with the value that alarms at random reach, which shows what it is worth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from homeostat.models.point_adjusted import point_adjusted
from homeostat.models.ranges import ranges

from .marked import marked, spread


def adjusted(alarms, labels):
    """As the papers do it: one alarmed row of an event alarms all of it."""
    changed = np.array(alarms, bool)
    for start, stop in zip(*ranges(labels), strict=True):
        changed[start:stop] |= changed[start:stop].any()
    return changed


@settings(deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(1, 80))
def test_it_is_the_f1_of_the_adjusted_alarms(seed, n):
    labels, alarms = marked(seed, n, 3, 12), marked(seed + 1, n, 4, 6)
    assert point_adjusted(alarms, labels).f1 == pytest.approx(f1_score(labels, adjusted(alarms, labels)))


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_by_chance_is_what_random_alarms_of_the_same_rate_reach(rate):
    rng = np.random.default_rng(0)
    labels = marked(3, 5000, 15, 120)
    reached, told = [], []
    for _ in range(200):
        alarms = rng.random(5000) < rate
        reached.append(f1_score(labels, adjusted(alarms, labels)))
        told.append(point_adjusted(alarms, labels).random_f1)
    assert np.mean(told) == pytest.approx(np.mean(reached), abs=0.02)


def test_on_long_events_chance_alone_looks_excellent():
    labels = spread(10_000, (2000, 4000), (7000, 8000))
    alarms = np.random.default_rng(1).random(10_000) < 0.02
    found = point_adjusted(alarms, labels)
    assert min(found) > 0.95
    assert f1_score(labels, alarms) < 0.1


def test_without_labels_there_is_nothing_to_adjust():
    assert point_adjusted(np.ones(4), np.zeros(4)) is None


def test_without_alarms_both_are_nought():
    assert point_adjusted(np.zeros(4), np.ones(4)) == (0.0, 0.0)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="one per row"):
        point_adjusted(np.ones(3), np.ones(2))
