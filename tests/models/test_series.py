"""The last rows of each series that a predictor keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.models.series import Tails


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def rows(*values: float) -> np.ndarray:
    return np.array(values, np.float64)[:, None]


@given(pieces=st.lists(st.integers(1, 6), min_size=1, max_size=8), tail=st.integers(0, 9))
def test_new_rows_come_back_after_the_last_ones_before_them(pieces, tail):
    tails, stretch, sent = Tails(tail), np.random.default_rng(0).normal(size=(sum(pieces), 3)), 0
    for size in pieces:
        whole = tails.extend("pump", stretch[sent : sent + size])
        assert (whole == stretch[max(0, sent - tail) : sent + size]).all()
        sent += size


def test_series_do_not_mix():
    tails = Tails(3)
    tails.extend("a", rows(1))
    tails.extend("b", rows(2))
    assert tails.extend("a", rows(3))[:, 0].tolist() == [1, 3]


def test_a_reset_series_starts_anew():
    tails = Tails(3)
    tails.extend("a", rows(1, 2))
    assert tails.extend("a", rows(3), reset=True)[:, 0].tolist() == [3]
    assert tails.extend("a", rows(4))[:, 0].tolist() == [3, 4]


def test_a_forgotten_series_starts_anew():
    tails = Tails(3)
    tails.extend("a", rows(1, 2))
    tails.forget("a")
    tails.forget("never seen")
    assert tails.nbytes == 0
    assert tails.extend("a", rows(3))[:, 0].tolist() == [3]


def test_what_the_caller_does_with_the_rows_later_does_not_reach_the_series():
    tails, own = Tails(2), rows(1, 2)
    tails.extend("a", own)[:] = 9
    assert tails.extend("a", rows(3))[:, 0].tolist() == [1, 2, 3]


def test_beyond_the_number_of_series_the_one_unused_longest_goes():
    tails = Tails(2, series=2)
    for name in ("a", "b", "a", "c"):
        tails.extend(name, rows(1))
    assert [len(tails.extend(name, rows(2))) for name in ("a", "c")] == [3, 2]
    assert len(tails.extend("b", rows(2))) == 1


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 30)), max_size=30))
def test_never_more_bytes_are_kept_than_allowed_and_all_are_counted(asked):
    tails = Tails(20, nbytes=400)
    for name, size in asked:
        tails.extend(name, np.zeros((size, 1)))
        assert tails.nbytes <= 400
        assert tails.nbytes == sum(kept.nbytes for _, kept in tails._kept.values())


def test_a_series_that_fell_silent_is_forgotten():
    clock = Clock()
    tails = Tails(2, idle=60, clock=clock)
    tails.extend("a", rows(1))
    clock.now = 50
    tails.extend("b", rows(1))
    clock.now = 61
    assert len(tails.extend("a", rows(2))) == 1
    assert len(tails.extend("b", rows(2))) == 2
    clock.now = 200
    tails.extend("c", rows(1))
    assert len(tails) == 1


@pytest.mark.parametrize("size", [1, 1000])
def test_a_long_request_leaves_no_more_than_its_tail(size):
    tails = Tails(3)
    tails.extend("a", np.zeros((size, 2)))
    assert tails.nbytes == min(size, 3) * 2 * 8
    assert all(kept.base is None for _, kept in tails._kept.values())
