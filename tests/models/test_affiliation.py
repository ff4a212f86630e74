"""Affiliation figures equal the authors' implementation and the cells of their paper's table."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.models.affiliation import affiliation

from .marked import marked, spread

TWITTER = (11889, ((748, 1145), (5074, 5471)))
TAXI = (2307, ((410, 617), (718, 925), (1964, 2171)))
GREENHOUSE = (
    *((368, 369), (457, 458), (831, 832), (950, 966), (5163, 5169), (5172, 5177), (5273, 5295), (5480, 5482)),
    *((5489, 5491), (5492, 5494), (5772, 5773), (5781, 5782), (5785, 5786), (9438, 9440), (9447, 9449)),
    *((9450, 9452), (9542, 9563), (11526, 11533), (11534, 11540)),
)
ADVERSARY = ((0, 2063), *((i, i + 1) for i in range(2064, 2086, 2)), (2086, 2307))


# Alarms and events of github.com/ahstat/affiliation-metrics-py @ 8d844985, data/; the cells are those of the
# paper's table 3 as its tests/test_data.py has them. All 20 cells were compared once, and agreed to 1e-14.
@pytest.mark.parametrize(
    ("data", "alarms", "cell"),
    [
        (TWITTER, GREENHOUSE, "0.78/0.98/0.87"),
        (TAXI, ADVERSARY, "0.54/1.00/0.70"),
        (TAXI, ((2064, 2085),), "1.00/0.30/0.46"),
    ],
)
def test_figures_equal_the_papers(data, alarms, cell):
    n, events = data
    found = affiliation(spread(n, *alarms), spread(n, *events))
    assert f"{found.precision:.2f}/{found.recall:.2f}/{found.f1:.2f}" == cell


# Computed once with pr_from_events of the same commit.
@pytest.mark.parametrize(
    ("drawn", "precision", "recall"),
    [
        ((0, 200, 4, 20), 0.43766167364096614, 0.6476324162368166),
        ((1, 500, 10, 30), 0.5700462484534073, 0.8034413695000298),
        ((2, 1000, 30, 15), 0.4489789824747687, 0.7625563679737866),
        ((3, 60, 2, 40), 0.5393396196563618, 0.9279411764705883),
        ((4, 3000, 5, 400), 0.7269628056556664, 0.7756186686144125),
    ],
)
def test_figures_equal_the_authors(drawn, precision, recall):
    seed, n, count, longest = drawn
    found = affiliation(marked(seed + 100, n, 2 * count, longest), marked(*drawn))
    assert found == (pytest.approx(precision, abs=1e-12), pytest.approx(recall, abs=1e-12))


@given(seed=st.integers(0, 999), n=st.integers(1, 80))
def test_time_may_run_backwards(seed, n):
    labels, alarms = marked(seed, n, 3, 12), marked(seed + 1, n, 3, 12)
    forwards, backwards = affiliation(alarms, labels), affiliation(alarms[::-1], labels[::-1])
    assert forwards == (pytest.approx(backwards.precision), pytest.approx(backwards.recall))
    assert 0 <= forwards.precision <= 1
    assert 0 <= forwards.recall <= 1


def test_the_nearer_an_alarm_the_more_it_is_worth():
    labels = spread(200, (100, 110))
    worth = [affiliation(spread(200, (start, start + 5)), labels) for start in (102, 112, 130, 180)]
    assert worth[0].precision == 1.0
    assert all(a.precision > b.precision and a.recall > b.recall for a, b in pairwise(worth))


def test_a_perfect_answer_reaches_one_and_alarms_at_random_about_a_half():
    rng = np.random.default_rng(0)
    labels = spread(10_000, *((start, start + 50) for start in range(200, 10_000, 1000)))
    assert affiliation(labels, labels) == (pytest.approx(1.0), pytest.approx(1.0))
    assert affiliation(rng.random(10_000) < 0.01, labels).precision == pytest.approx(0.5, abs=0.05)


def test_without_events_there_are_no_figures_and_without_alarms_no_precision():
    assert affiliation(np.ones(5), np.zeros(5)) is None
    found = affiliation(np.zeros(5), np.ones(5))
    assert (found.precision, found.recall, found.f1) == (None, 0.0, 0.0)


def test_ten_thousand_ranges_take_less_than_a_second():
    rng = np.random.default_rng(1)
    alarms, labels = rng.random(100_000) < 0.15, marked(2, 100_000, 2000, 20)
    started = time.process_time()
    affiliation(alarms, labels)
    assert time.process_time() - started < 1.0


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="one per row"):
        affiliation(np.ones(3), np.ones(2))
