"""A row is judged by its place in the cycle, which the window tells; without a cycle by its level."""

from __future__ import annotations

import numpy as np
import pytest

from homeostat.models.features import windows
from homeostat.models.seasonal import Seasonal
from tests.models.every import Windows, normal


def cycle(n: int, length: float = 24, seed: int = 0, start: int = 0, window: int = 12) -> Windows:
    rng = np.random.default_rng(seed)
    turn = 2 * np.pi * np.arange(start, start + n) / length
    rows = np.column_stack([np.sin(turn), np.cos(turn) + np.sin(2 * turn)]) + 0.1 * rng.normal(size=(n, 2))
    return windows(rows.astype(np.float32), window)


def fitted(made: Windows, **parameters: int) -> Seasonal:
    one = Seasonal(**parameters)
    one.fit(made)
    return one


@pytest.mark.parametrize("length", [24, 24.37, 101.6])
def test_fresh_windows_of_the_season_are_usual_wherever_they_begin(length: float) -> None:
    one = fitted(cycle(1500, length, window=40))
    fresh = cycle(400, length, seed=1, start=777, window=40)
    assert np.median(one.score(fresh)) == pytest.approx(np.log(2), abs=0.12)


def test_a_value_that_is_usual_elsewhere_in_the_cycle_is_found_at_the_wrong_place() -> None:
    one, struck = fitted(cycle(1000)), cycle(300, seed=1).copy()
    calm = one.score(struck)
    struck[:, -2:, 0] *= -1  # within the range of all days, but not at this hour
    far = np.abs(struck[:, -2:, 0]).min(axis=1) > 0.5
    assert (one.score(struck)[far] > np.quantile(calm, 0.99)).mean() > 0.95


def test_a_window_shorter_than_the_cycle_is_placed_by_the_rows_it_has() -> None:
    one = fitted(cycle(3000, 200, window=10))
    fresh = cycle(600, 200, seed=1, window=10)
    assert np.quantile(one.score(fresh), 0.9) < 1.2
    assert np.median(one.score(fresh + 1.5)) > np.quantile(one.score(fresh), 0.99)


def test_an_outlier_in_the_earlier_rows_does_not_misplace_the_window() -> None:
    one, struck = fitted(cycle(1000, window=24)), cycle(200, seed=1, window=24).copy()
    calm = one.score(struck)
    struck[:, 3] = 50
    late = np.log1p(np.square(50 / 0.1) * 2**-5)  # what the outlier itself adds at most, fading
    assert (one.score(struck) < calm + late).all()
    assert one.settings()["found"] == 24.0


def test_without_a_season_the_residual_is_that_from_the_median() -> None:
    one = fitted(normal(window=1))
    assert one.settings()["found"] == 0.0
    middle, scale = one.arrays()["cycle"][0], one.arrays()["scale"]
    fresh = normal(50, window=1, seed=1)
    expected = np.log1p(((fresh[:, 0] - middle) / scale) ** 2).mean(axis=1)
    assert one.score(fresh) == pytest.approx(expected)


def test_stretches_that_begin_elsewhere_in_the_cycle_teach_the_same_season() -> None:
    parts = [cycle(500), cycle(300, seed=2, start=7), cycle(100, seed=3, start=18)]
    together, alone = fitted(np.concatenate(parts)), fitted(parts[0])
    assert np.abs(together.arrays()["cycle"] - alone.arrays()["cycle"]).max() < 0.15


def test_a_period_that_is_given_is_taken_and_one_too_long_is_refused() -> None:
    assert fitted(cycle(200), period=48).settings()["found"] == 48.0
    with pytest.raises(
        ValueError, match="period is 150: the longest stretch of 200 rows holds no two such cycles"
    ):
        fitted(cycle(200), period=150)
    with pytest.raises(ValueError, match="period is 1: give at least 2 rows"):
        Seasonal(period=1)


def test_a_long_cycle_of_many_channels_is_laid_out_in_bounded_memory() -> None:
    rows = np.random.default_rng(0).normal(size=(4100, 200)).astype(np.float32)
    one = fitted(windows(rows, 60), period=2000)
    assert one._phases.size <= 8_000_000
    assert np.isfinite(one.score(windows(rows[:100], 60))).all()
