"""What is kept of old regimes: the long stretches, within a bound; and what rehearsing on them tells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from homeostat.models.memory import kept, rehearsed_lift, unbroken
from homeostat.models.threshold import conformal_quantile


def stretch(rows: int, first: float = 0) -> NDArray[np.float64]:
    return np.arange(first, first + rows, dtype=float)[:, None]


def rehearse(rows: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], float]:
    """A detector of one channel: how far from the first rows' mean."""
    away = np.abs(rows[:, 0] - rows[:count, 0].mean())
    return away[count:], conformal_quantile(away[:count], 0.02)


@given(st.lists(st.integers(1, 30), max_size=8), st.lists(st.integers(1, 30), max_size=8), st.integers(1, 60))
def test_what_is_kept_is_bounded_and_wastes_nothing(old: list[int], new: list[int], most: int) -> None:
    found = kept([stretch(one) for one in old], [stretch(one) for one in new], most)
    assert sum(map(len, found)) == min(most, sum(old) + sum(new))
    assert max(map(len, found), default=0) == min(most, max([*old, *new], default=0))


def test_the_longest_stay_in_their_order_and_of_equals_the_newer() -> None:
    found = kept([stretch(4, 0), stretch(9, 10)], [stretch(4, 30)], most=13)
    assert [one[0, 0] for one in found] == [10, 30]


def test_what_is_cut_keeps_its_newest_rows() -> None:
    assert kept([], [stretch(10)], most=3)[0].ravel().tolist() == [7, 8, 9]


def test_stretches_end_where_a_row_is_not_usable() -> None:
    found = unbroken(stretch(6), np.array([True, False, True, True, False, True]))
    assert [one.ravel().tolist() for one in found] == [[0], [2, 3], [5]]
    assert unbroken(stretch(0), np.zeros(0, bool)) == []


def test_on_a_steady_machine_a_threshold_needs_no_lift() -> None:
    steady = np.random.default_rng(0).normal(size=(8000, 1))
    assert abs(rehearsed_lift([steady], rehearse, 500, 1000)) < 0.3


def test_on_one_that_wanders_it_is_lifted_until_the_rate_holds() -> None:
    rng = np.random.default_rng(1)
    wandering = rng.normal(size=(8000, 1)) + 4 * np.sin(np.arange(8000) / 250)[:, None]
    lift = rehearsed_lift([wandering[:6000]], rehearse, 100, 1000)
    assert lift > 2
    later, threshold = rehearse(wandering[6000:7100], 100)
    assert (later > threshold).mean() > 0.3
    assert (later > threshold + lift).mean() < 0.15


def test_stretches_that_are_too_short_tell_nothing() -> None:
    assert rehearsed_lift([stretch(100)], rehearse, 90, 20) == 0.0


def test_a_rate_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="false_alarm_rate"):
        rehearsed_lift([stretch(100)], rehearse, 10, 20, false_alarm_rate=0.0)
