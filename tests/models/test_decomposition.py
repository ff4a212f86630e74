"""Season and trend leave the rows by what was learnt before, whether a clock or the rows tell the phase."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.models import periods, seasonality
from homeostat.models.decomposition import Decomposition, cycle_length
from homeostat.models.phase import infer

DAY = 24
NOISE = 0.1


def rows(n: int, start: int = 0, seed: int = 0) -> np.ndarray:
    """(n, 2): two seasons of a day about a level that rises, and noise."""
    time = np.arange(start, start + n)
    season = np.stack([2 * np.sin(2 * np.pi * time / DAY), 3.0 * (time % DAY < 6)], axis=1)
    return season + 50 + 0.002 * time[:, None] + np.random.default_rng(seed).normal(0, NOISE, (n, 2))


def spread(values: np.ndarray) -> float:
    return float(np.quantile(np.abs(values), 0.68))


@pytest.fixture(scope="module")
def clocked() -> Decomposition:
    return seasonality.fit(rows(40 * DAY, 5), "stl", periods=(DAY,), phase=np.arange(5, 5 + 40 * DAY))


@pytest.fixture(scope="module")
def unclocked() -> Decomposition:
    return seasonality.fit(rows(40 * DAY, 5), "stl", periods=(DAY,))


def test_later_rows_are_left_with_little_more_than_noise(clocked):
    later, phase = rows(10 * DAY, 2000, seed=1), np.arange(2000, 2000 + 10 * DAY)
    left = clocked.residual(later, phase)
    assert spread(later - np.median(later, axis=0)) > 10 * NOISE
    assert spread(left) < 1.5 * NOISE
    assert clocked.noise == pytest.approx([NOISE, NOISE], rel=0.3)


def test_a_wrong_phase_leaves_the_season_in(clocked):
    later = rows(10 * DAY, 2000, seed=1)
    assert spread(clocked.residual(later, np.arange(2007, 2007 + 10 * DAY))) > 5 * NOISE


def test_without_a_clock_the_rows_tell_their_phase_after_a_cycle(clocked, unclocked):
    later, phase = rows(10 * DAY, 2003, seed=1), np.arange(2003, 2003 + 10 * DAY)
    by_clock, by_rows = clocked.residual(later, phase), unclocked.residual(later)
    assert by_rows[DAY:] == pytest.approx(by_clock[DAY:], abs=0.05 * NOISE)
    assert clocked.residual(later)[DAY:] == pytest.approx(by_clock[DAY:], abs=1e-9)


def test_a_stretch_shorter_than_a_cycle_raises_no_alarm_about_its_season(unclocked):
    short = rows(DAY // 2, 2009, seed=1)
    assert np.abs(unclocked.residual(short)).max() < 10 * NOISE < np.abs(np.diff(short, axis=0)).max()


def test_an_anomaly_stays_in_the_residual(clocked):
    later, phase = rows(4 * DAY, 2000, seed=1), np.arange(2000, 2000 + 4 * DAY)
    later[60:64] += 2
    left = clocked.residual(later, phase)
    assert (left[60:64] > 1.5).all()
    assert np.abs(left[64:]).max() < 5 * NOISE


def test_anomalies_among_training_rows_hardly_bend_the_season(clocked):
    spoilt = rows(40 * DAY, 5)
    spoilt[100:120] += 40
    spoilt[[5, 500, -3], 0] = 1e30
    found = seasonality.fit(spoilt, "stl", periods=(DAY,), phase=np.arange(5, 5 + 40 * DAY))
    assert found.cycle == pytest.approx(clocked.cycle, abs=2 * NOISE)


def test_segments_without_a_clock_are_aligned_to_the_longest(unclocked):
    parts = [rows(10 * DAY, 2011, seed=2), rows(20 * DAY, 3000, seed=3)]
    found = seasonality.fit(
        np.concatenate(parts), "stl", periods=(DAY,), segments=np.repeat([0, 1], [10 * DAY, 20 * DAY])
    )
    shift = min(range(DAY), key=lambda by: np.abs(np.roll(unclocked.cycle, by, 0) - found.cycle).sum())
    assert found.cycle == pytest.approx(np.roll(unclocked.cycle, shift, axis=0), abs=NOISE)


def test_a_jump_of_the_clock_within_a_segment_does_not_smear_the_season(clocked):
    parts, phase = [rows(10 * DAY, 0), rows(10 * DAY, 307)], [np.arange(240), np.arange(307, 547)]
    found = seasonality.fit(
        np.concatenate(parts), "stl", periods=(DAY,), phase=np.concatenate(phase), segments=None
    )
    assert found.cycle == pytest.approx(clocked.cycle, abs=NOISE)


def test_several_periods_are_taken_out_together():
    time = np.arange(7 * DAY * 12)
    season = (np.sin(2 * np.pi * time / DAY) + 2 * (time // DAY % 7 > 4))[:, None]
    noisy = season + np.random.default_rng(0).normal(0, NOISE, season.shape)
    found = seasonality.fit(noisy, "mstl", periods=(DAY, 7 * DAY), phase=time)
    assert found.cycle.shape == (7 * DAY, 1)
    week = season[: 7 * DAY] - season[: 7 * DAY].mean()
    assert found.cycle == pytest.approx(week, abs=3 * NOISE)


def test_a_constant_channel_stays_without_a_season():
    flat = rows(10 * DAY)
    flat[:, 1] = 7.0
    found = seasonality.fit(flat, "stl", periods=(DAY,))
    assert (found.cycle[:, 1] == 0).all()
    assert (found.residual(flat)[:, 1] == 0).all()


@pytest.mark.parametrize("length", [12, 24, 144])
def test_a_period_is_found_in_noise(length):
    time = np.arange(20 * length)
    noise = np.random.default_rng(length).normal(0, 0.5, size=(len(time), 3))
    noise[:, 1] += np.sin(2 * np.pi * time / length)
    assert periods.find(noise, 1) == (length,)


def test_a_day_and_a_week_are_both_found():
    time = np.arange(7 * DAY * 12)
    working = (time // DAY % 7 < 5) * np.sin(2 * np.pi * time / DAY)
    noisy = working[:, None] + np.random.default_rng(0).normal(0, NOISE, (len(time), 1))
    assert periods.find(noisy, 3) == (DAY, 7 * DAY)


@pytest.mark.parametrize("seed", range(5))
def test_no_period_is_found_where_there_is_none(seed):
    rng = np.random.default_rng(seed)
    for aperiodic in (
        rng.normal(size=(600, 2)),
        np.ones((600, 1)),
        np.arange(600.0)[:, None],
        np.ones((2, 1)),
    ):
        with pytest.raises(ValueError, match="no period is found"):
            periods.find(aperiodic, 3)


def by_hand(rows: np.ndarray, cycle: np.ndarray) -> int:
    """The phase of the last row: every alignment tried, by squared error about the mean."""
    count, length = min(len(rows), len(cycle)), len(cycle)
    errors = []
    for newest in range(length):
        away = rows[-count:] - cycle[(newest - np.arange(count)[::-1]) % length]
        errors.append(((away - away.mean(axis=0)) ** 2).sum())
    return int(np.argmin(errors))


@given(length=st.integers(2, 15), c=st.integers(1, 3), n=st.integers(2, 40), seed=st.integers(0, 99))
def test_the_phase_is_that_of_the_best_circular_alignment(length, c, n, seed):
    rng = np.random.default_rng(seed)
    cycle = rng.normal(size=(length, c))
    cycle -= cycle.mean(axis=0)
    values = cycle[(np.arange(n) + 3) % length] + rng.normal(0, 0.3, size=(n, c))
    found = infer(values, np.zeros((n, c)), cycle)
    assert found[1:].tolist() == [by_hand(values[: i + 1], cycle) for i in range(1, n)]


@settings(deadline=None)
@given(n=st.integers(1, 90), first=st.integers(0, 90), seed=st.integers(0, 20), told=st.booleans())
def test_a_residual_depends_on_its_reach_alone_to_the_last_bit(clocked, n, first, seed, told):
    values, phase, first = rows(n, seed * 7, seed), np.arange(seed * 7, seed * 7 + n), min(first, n - 1)
    batch = clocked.residual(values, phase if told else None)
    low = max(0, first - clocked.reach)
    part = clocked.residual(values[low:], phase[low:] if told else None, first - low)
    assert (part == batch[first:]).all()


def test_too_few_rows_for_two_cycles_are_told():
    with pytest.raises(ValueError, match=r"periods \(24,\) need 48 consecutive rows, and the longest.* 40"):
        seasonality.fit(rows(80), "stl", periods=(DAY,), segments=np.repeat([0, 1], 40))


def test_a_phase_is_refused_when_the_season_was_learnt_without(unclocked):
    with pytest.raises(ValueError, match="phase is given, but the season was fitted without"):
        unclocked.residual(rows(30), np.arange(30))


@pytest.mark.parametrize(
    ("kind", "chosen", "said"),
    [
        ("stl", (24, 168), "stl takes one period, mstl several"),
        ("none", (24,), "decompose is 'none': choose one of none, stl, mstl"),
        ("mstl", (24, 24), "whole numbers of rows from 2 on, rising"),
        ("mstl", (1, 24), "whole numbers of rows from 2 on, rising"),
        ("mstl", (2.5,), "whole numbers of rows from 2 on, rising"),
        ("mstl", (), "give 1 to 4"),
        ("stl", (10**30,), "more than 20000"),
        ("mstl", (144, 1009), "begin together every 145296 rows, more than 20000"),
    ],
)
def test_unusable_periods_are_refused_with_their_mend(kind, chosen, said):
    with pytest.raises(ValueError, match=said):
        cycle_length(kind, chosen)


def test_applying_a_season_loads_neither_pandas_nor_statsmodels():
    program = """
import sys, numpy as np
from homeostat.models.decomposition import Decomposition
from homeostat.models.preparation import Preparation
rows = np.random.default_rng(0).normal(size=(50, 1))
Decomposition("stl", (4,), np.array([[1.0], [-1.0], [1.0], [-1.0]]), np.ones(1), False).residual(rows)
Preparation.fit(rows, statistics=["mean:3"], missing="hold:2").transform(rows)
print([name for name in ("pandas", "statsmodels", "torch", "sklearn") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
