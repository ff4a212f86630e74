"""What every detector keeps, whichever it is: the same checks for each name, as river does for its models.

What an artifact of it keeps is in test_contract_artifacts.py, what its class says of itself in
test_contract_words.py.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from functools import cache

import numpy as np
import psutil
import pytest

from homeostat.models.algorithm import Algorithm
from tests.models.every import Windows, detector, every, every_but, fitted, normal, rhythm, rhythmic, usual

MEGABYTE = 1 << 20


# --- what it finds -----------------------------------------------------------------------------------------
@every
def test_windows_unlike_the_fitted_ones_score_higher(name: str) -> None:
    one = rhythmic(name)
    assert one.score(rhythm(seed=1) + 6).min() > np.quantile(one.score(rhythm(seed=1)), 0.99)


@every
def test_an_anomaly_in_the_last_row_alone_shows(name: str) -> None:
    fresh = rhythm(seed=1)
    struck = fresh.copy()
    struck[:, -1] += 12
    assert (rhythmic(name).score(struck) > rhythmic(name).score(fresh)).mean() > 0.95


# --- determinism -------------------------------------------------------------------------------------------
@every
def test_the_same_seed_gives_the_same_bits_whatever_was_drawn_before(name: str) -> None:
    made = normal(300)
    first = fitted(name, made, seed=3)
    np.random.normal(size=7)
    second = fitted(name, made, seed=3)
    assert (first.score(made) == second.score(made)).all()
    arrays = second.arrays()
    assert all((array == arrays[key]).all() for key, array in first.arrays().items())


@every
def test_fitting_and_scoring_leave_global_random_states_and_threads_alone(name: str) -> None:
    import torch

    def states() -> tuple[object, ...]:
        kind, keys, *rest = np.random.get_state()
        drawn = torch.get_rng_state().numpy().tobytes()
        return kind, keys.tobytes(), *rest, random.getstate(), drawn, torch.get_num_threads()

    before = states()
    one = fitted(name, normal(300))
    one.contributions(normal(20))
    assert states() == before


# --- shapes ------------------------------------------------------------------------------------------------
@every
@pytest.mark.parametrize(("n", "c", "window"), [(87, 1, 8), (80, 3, 1), (240, 200, 8)])
def test_any_number_of_channels_and_rows_is_fitted_and_scored(name: str, n: int, c: int, window: int) -> None:
    one, made = usual(name, n, c, window), normal(n, c, window)
    scores = one.score(made)
    assert one.shape == (window, c)
    assert scores.shape == (len(made),)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()


@every
def test_no_window_gives_no_score_and_no_contribution(name: str) -> None:
    nothing = normal()[:0]
    assert usual(name).score(nothing).shape == (0,)
    assert usual(name).contributions(nothing).shape == (0, 3)


@every
def test_row_by_row_equals_all_at_once(name: str) -> None:
    made = normal()
    single = np.concatenate([usual(name).score(made[place : place + 1]) for place in range(50)])
    assert single == pytest.approx(usual(name).score(made)[:50], rel=1e-5, abs=1e-7)


@every
def test_a_view_of_overlapping_windows_scores_as_their_copy_does(name: str) -> None:
    made = normal(200)
    assert not made.flags.writeable
    assert usual(name).score(made.copy()) == pytest.approx(usual(name).score(made), rel=1e-6, abs=1e-9)


# --- values ------------------------------------------------------------------------------------------------
@cache
def beside_a_constant(name: str) -> tuple[Algorithm, Windows]:
    made = normal(300).copy()
    made[:, :, 1] = 0
    return fitted(name, made), made


@every
def test_a_constant_channel_leaves_every_score_finite(name: str) -> None:
    one, made = beside_a_constant(name)
    assert np.isfinite(one.score(made)).all()


@every
def test_a_constant_channel_is_no_anomaly_until_it_moves(name: str) -> None:
    one, made = beside_a_constant(name)
    moved = made.copy()
    moved[:, :, 1] = 6
    assert (one.score(moved) > one.score(made)).mean() > 0.95


@every
def test_channels_that_are_all_constant_score_alike(name: str) -> None:
    made = np.zeros((120, 8, 3), np.float32)
    scores = fitted(name, made).score(made)
    assert np.isfinite(scores).all()
    assert np.ptp(scores) <= 1e-9


@every
def test_the_largest_values_that_scaling_lets_through_give_finite_scores(name: str) -> None:
    rng = np.random.default_rng(0)
    struck = rng.choice(np.array([-1e6, 0, 1e6], np.float32), size=(50, 8, 3))
    assert np.isfinite(usual(name).score(struck)).all()
    assert np.isfinite(usual(name).contributions(struck)).all()


@every
def test_outliers_among_the_fitted_windows_leave_it_finite(name: str) -> None:
    made = normal(300).copy()
    made[::50, 2, 1] = 1e6
    assert np.isfinite(fitted(name, made).score(normal(50))).all()


@every
def test_double_precision_is_scored_as_single_is(name: str) -> None:
    made = normal()
    double = usual(name).score(made.astype(np.float64))
    assert double == pytest.approx(usual(name).score(made), rel=1e-4, abs=1e-6)


@every
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_cell_that_is_no_number_is_refused_by_row_and_channel(name: str, value: float) -> None:
    rows = np.zeros((20, 2))
    rows[7, 1] = value
    with pytest.raises(ValueError, match=rf"row 7, channel 'heat' is {value}: fill or drop"):
        detector(name).score(rows)


# --- contributions -----------------------------------------------------------------------------------------
@every
def test_contributions_are_shares_that_name_the_struck_channel(name: str) -> None:
    struck = rhythm(seed=1)[:60].copy()
    struck[:, :, 2] += 9
    shares = rhythmic(name).contributions(struck)
    assert shares.shape == (60, 3)
    assert shares.min() >= 0
    assert shares.sum(axis=1) == pytest.approx(np.ones(60))
    assert (shares.argmax(axis=1) == 2).mean() > 0.9


@every_but("isolation-forest", "pyod:IForest")  # few of their cuts fall on any one of so many channels
def test_contributions_find_one_struck_channel_among_two_hundred(name: str) -> None:
    struck = normal(240, 200, seed=1)[:8].copy()
    struck[:, :, 137] += 25
    assert (usual(name, 240, 200).contributions(struck).argmax(axis=1) == 137).mean() > 0.8


# --- memory ------------------------------------------------------------------------------------------------
def growth(work: Callable[[], object]) -> int:
    """By how many bytes this process was larger at any moment of the work than before it."""
    process, done = psutil.Process(), threading.Event()
    before = process.memory_info().rss
    seen = [before]

    def watch() -> None:
        while not done.is_set():
            seen.append(process.memory_info().rss)
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return max(seen) - before


def test_a_copy_of_all_windows_would_be_seen() -> None:
    made = normal(50_059, 8, 60)
    assert growth(lambda: made.copy().sum()) > 80 * MEGABYTE


@every
def test_fifty_thousand_overlapping_windows_are_scored_in_little_memory(name: str) -> None:
    one = usual(name, 300, 8, 60)
    one.score(normal(100, 8, 60))  # what is loaded and compiled once is not counted
    made = normal(50_059, 8, 60)  # 1.6 MB of rows, 96 MB as windows of single precision
    assert growth(lambda: one.score(made)) < 80 * MEGABYTE
