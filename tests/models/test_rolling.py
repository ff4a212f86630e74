"""Rolling statistics equal pandas', and depend on nothing but the rows of their window."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.models.rolling import LONGEST, Statistic, derive, trailing_median

NAMES = ("mean", "std", "min", "max", "slope", "difference")


def like_pandas(rows: np.ndarray, one: Statistic) -> np.ndarray:
    """The same by pandas, the first row repeated into the past."""
    frame = pd.DataFrame(np.concatenate([np.repeat(rows[:1], one.rows, axis=0), rows]))
    if one.name == "difference":
        found = frame.diff(one.rows)
    elif one.name == "slope":
        time = np.arange(one.rows)
        found = frame.rolling(one.rows).apply(lambda window: np.polyfit(time, window, 1)[0], raw=True)
    else:
        found = getattr(frame.rolling(one.rows), one.name)()
    return found.to_numpy()[one.rows :]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("k", [2, 3, 7, 8, 60])
def test_a_statistic_equals_pandas(name, k):
    rows = np.random.default_rng(k).normal(size=(300, 3)) * [1.0, 1e-6, 1e6]
    one = Statistic(name, k)
    found = derive(rows, [one])
    assert (found[:, :3] == rows).all()
    expected = like_pandas(rows, one)
    assert np.abs(found[:, 3:] - expected) == pytest.approx(0, abs=1e-9 * np.abs(expected).max())
    relative = np.abs(found[:, 3:] - expected) / np.abs(expected).clip(1e-3 * np.abs(rows).max(axis=0))
    assert relative.max() < 1e-9


def test_deviation_keeps_its_digits_where_a_running_sum_of_squares_loses_them():
    rows = 1e6 + np.random.default_rng(0).normal(size=(200, 1))
    windows = np.lib.stride_tricks.sliding_window_view(rows[:, 0], 20)
    found = derive(rows, [Statistic("std", 20)])[19:, 1]
    assert found == pytest.approx(windows.std(axis=1, ddof=1), rel=1e-9)


def test_a_constant_has_no_deviation_and_no_slope_at_all():
    found = derive(np.full((50, 1), 0.1), [Statistic("std", 7), Statistic("slope", 7), Statistic("mean", 7)])
    assert (found[:, 1:] == [0.0, 0.0, 0.1]).all()


windows = st.tuples(st.sampled_from(NAMES), st.integers(2, 40))


@given(
    chosen=st.lists(windows, min_size=1, max_size=4, unique=True),
    n=st.integers(1, 80),
    first=st.integers(0, 80),
    seed=st.integers(0, 9),
)
def test_a_row_depends_on_its_reach_alone_to_the_last_bit(chosen, n, first, seed):
    rows = np.random.default_rng(seed).normal(100, 1, size=(n, 2))
    first = min(first, n)
    statistics = [Statistic(name, k) for name, k in chosen]
    reach = max(one.reach for one in statistics)
    batch = derive(rows, statistics)
    low = max(0, first - reach)
    assert (derive(rows[low:], statistics, first - low) == batch[first:]).all()
    assert np.isfinite(batch).all()


@settings(deadline=None)  # the first call loads SciPy
@given(n=st.integers(1, 60), half=st.integers(0, 20), seed=st.integers(0, 9), first=st.integers(0, 60))
def test_trailing_median_is_numpys(n, half, seed, first):
    rows, width, first = np.random.default_rng(seed).normal(size=(n, 2)), 2 * half + 1, min(first, n - 1)
    past = np.concatenate([np.repeat(rows[:1], width - 1, axis=0), rows])
    expected = np.median(np.lib.stride_tricks.sliding_window_view(past, width, axis=0), axis=2)
    assert (trailing_median(rows, width, first) == expected[first:]).all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mode:3", "'mode:3': choose one of mean, std, min, max, slope, difference"),
        ("mean", "'mean': give mean 1 to 10000 rows, as in mean:10"),
        ("std:1", "give std 2 to 10000 rows"),
        (f"max:{LONGEST + 1}", "give max 1 to 10000 rows"),
        ("mean:-3", "give mean 1"),
        ("mean:²", "give mean 1"),
    ],
)
def test_an_unusable_statistic_is_refused_with_its_mend(text, said):
    with pytest.raises(ValueError, match=said):
        Statistic.parse(text)


@pytest.mark.parametrize("text", ["mean:1", "difference:5"])
def test_a_statistic_is_written_as_it_is_read(text):
    assert str(Statistic.parse(text)) == text
