"""Rows less their trailing median: slow change goes, faults stay, a new regime begins anew."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from numpy.typing import NDArray

from homeostat.models.baseline import followed, reach, regimes, relative
from homeostat.models.simulator import CHANNELS, simulate

START = datetime(2026, 3, 1, 8)


def noise(count: int, channels: int = 4, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(10, 1, (count, channels))


def rig(count: int, regime: str, hours: float) -> NDArray[np.float64]:
    frame = simulate(count, regime=regime, start=START + timedelta(hours=hours), seed=int(hours) + 1)
    return frame[list(CHANNELS)].to_numpy()


def test_each_row_is_measured_by_the_median_of_its_last_rows() -> None:
    rows = noise(300)
    found = relative(rows, 50)
    assert np.allclose(found[200], rows[200] - np.median(rows[151:201], axis=0))
    assert np.allclose(found[10], rows[10] - np.median(rows[:11], axis=0))


def test_nothing_depends_on_what_comes_later() -> None:
    rows = noise(300)
    changed = rows.copy()
    changed[200:] += 100
    segments = np.repeat([0, 1], 150)
    assert np.array_equal(relative(rows, 50, segments)[:200], relative(changed, 50, segments)[:200])


def test_slow_change_goes_and_a_fault_of_less_than_half_the_memory_stays() -> None:
    rows = noise(4000) + np.linspace(0, 40, 4000)[:, None]
    rows[3000:3400] += 30
    found = relative(rows, 1000)
    assert np.abs(found[2000:3000]).max() < 20
    assert found[3000:3400].min() > 15


def test_a_stop_alone_begins_no_regime_and_a_rebuilt_machine_does() -> None:
    segments = np.repeat([0, 1, 2], 600)
    same = np.concatenate([rig(600, "commissioned", one) for one in (0, 1, 2)])
    assert regimes(same, 1000, segments) == [0]
    rebuilt = np.concatenate([same[:1200], rig(600, "rebuilt", 2)])
    assert regimes(rebuilt, 1000, segments) == [0, 1200]
    assert np.abs(relative(rebuilt, 1000, segments)[1200]).max() == 0


def test_without_a_stop_a_jump_begins_no_regime_because_it_may_be_a_fault() -> None:
    rows = np.concatenate([rig(600, "commissioned", 0), rig(600, "rebuilt", 2)])
    assert regimes(rows, 1000) == [0]


def test_one_channel_elsewhere_after_a_stop_is_no_other_machine() -> None:
    rows = noise(400)
    rows[200:, 1] += 50
    assert regimes(rows, 100, np.repeat([0, 1], 200)) == [0]


def test_a_median_of_one_row_is_refused() -> None:
    with pytest.raises(ValueError, match="length is 1"):
        relative(noise(10), 1)


def test_one_stretch_is_followed_as_it_is_relative() -> None:
    rows = noise(400)
    found, known = followed(rows, 51), relative(rows, 51)
    assert np.array_equal(found[50:], known[50:])
    assert np.array_equal(found[:50:2], known[:50:2])  # odd numbers of rows have a middle one


def test_first_rows_are_measured_by_those_that_there_are() -> None:
    rows = np.array([[5.0], [1.0], [3.0], [9.0], [2.0]])
    assert followed(rows, 1001).ravel().tolist() == [0.0, 0.0, 0.0, 6.0, -1.0]


@pytest.mark.parametrize("length", [2, 7, 20])
def test_rows_are_followed_alike_wherever_they_begin(length: int) -> None:
    rows = noise(200)
    whole, past = followed(rows, length), reach(length)
    for first in (0, 1, past, 60, 199):
        assert np.array_equal(followed(rows, length, first), whole[first:])
        low = max(0, first - past)
        assert np.array_equal(followed(rows[low:], length, first - low), whole[first:])
