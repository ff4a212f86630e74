"""A period is found where there is one, to a fraction of a row, and none where there is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from homeostat.models.periodicity import period


def season(length: float, n: int, noise: float, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    turn = 2 * np.pi * np.arange(n) / length
    return (np.sin(turn) + 0.5 * np.sin(2 * turn + 1) + noise * rng.normal(size=n))[:, None]


@settings(max_examples=40, deadline=None)
@given(length=st.floats(12, 200), seed=st.integers(0, 999))
def test_a_season_under_noise_is_found_to_a_few_thousandths(length: float, seed: int) -> None:
    assert period([season(length, 3000, 0.5, seed)]) == pytest.approx(length, rel=5e-3)


@pytest.mark.parametrize("length", [5.0, 6.5, 8.5, 9.25])
def test_a_short_season_between_two_rows_may_be_told_as_several_of_it(length: float) -> None:
    """No whole number of rows is near one cycle, but one is near two or four."""
    cycles = period([season(length, 3000, 0.5, 0)]) / length
    assert cycles == pytest.approx(round(cycles), rel=5e-3)
    assert 1 <= round(cycles) <= 4


def test_one_channel_that_repeats_is_enough() -> None:
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(size=(2000, 50)), season(40, 2000, 0.3, 1)])
    assert period([rows]) == 40.0


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9, 0.99, 1.0])
def test_noise_repeats_nothing_however_long_its_memory(memory: float) -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(20):
        rows = rng.normal(size=1000)
        for t in range(1, 1000):
            rows[t] += memory * rows[t - 1]
        found += period([rows[:, None]]) > 0
    assert found <= 1


@pytest.mark.parametrize(
    "rows", [np.ones((500, 2)), np.zeros((0, 1)), np.arange(300.0)[:, None], np.ones((5, 1))]
)
def test_what_never_varies_or_only_rises_has_no_period(rows: NDArray[np.float64]) -> None:
    assert period([rows]) == 0.0


def test_a_trend_and_spikes_hide_no_season() -> None:
    rows = season(30, 1500, 0.2, 0) + np.linspace(0, 20, 1500)[:, None]
    rows[np.random.default_rng(1).integers(0, 1500, 15)] += 100
    assert period([rows]) == pytest.approx(30, rel=5e-3)


def test_fewer_than_three_cycles_are_no_season() -> None:
    assert period([season(100, 250, 0.1, 0)]) == 0.0
    assert period([season(100, 400, 0.1, 0)]) == pytest.approx(100, abs=2)
