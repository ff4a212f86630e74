"""Distances are stumpy's where only shapes count; level, width and flat windows have a meaning besides."""

from __future__ import annotations

import numpy as np
import pytest

from homeostat.models.features import windows
from homeostat.models.matrix_profile import MatrixProfile
from tests.models.every import Windows, normal


def fitted(made: Windows, **parameters: float) -> MatrixProfile:
    one = MatrixProfile(**parameters)  # type: ignore[arg-type]
    one.fit(made)
    return one


def wave(n: int, seed: int = 0, noise: float = 0.1) -> Windows:
    rng = np.random.default_rng(seed)
    rows = np.sin(2 * np.pi * np.arange(n) / 25) + noise * rng.normal(size=n)
    return windows(rows[:, None].astype(np.float32), 20)


def test_distances_are_those_of_stumpys_join_of_two_series() -> None:
    from stumpy.core import mass  # the join of one subsequence; stumpy.stump compiles for a minute

    rng = np.random.default_rng(0)
    series, fresh = (rng.normal(size=(300, 2)).cumsum(axis=0).astype(np.float32) for _ in range(2))
    one = fitted(windows(series, 16), level=1e-9)
    far = one.distances(windows(fresh[:80], 16))
    for place in range(0, len(far), 13):
        for channel in range(2):
            query = fresh[place : place + 16, channel].astype(np.float64)
            reference = mass(query, series[:, channel].astype(np.float64)).min()
            assert far[place, channel] * np.sqrt(2 * 16) == pytest.approx(reference, rel=1e-4)


def test_a_shape_never_seen_is_far_though_its_values_are_usual() -> None:
    one, fresh = fitted(wave(1000)), wave(400, seed=1)
    assert np.median(one.score(np.abs(fresh) * 1.3 - 0.6)) > np.quantile(one.score(fresh), 0.999)


@pytest.mark.parametrize("change", [lambda x: x + 2, lambda x: x * 3], ids=["level", "width"])
def test_a_change_of_level_or_width_is_seen_unless_it_is_not_to_count(change) -> None:  # type: ignore[no-untyped-def]
    fresh = wave(400, seed=1)
    one = fitted(wave(1000))
    assert np.median(one.score(change(fresh))) > np.quantile(one.score(fresh), 0.999)
    blind = fitted(wave(1000), level=1e-6)
    assert np.median(blind.score(change(fresh))) < np.quantile(blind.score(fresh), 0.9)


def test_the_noise_of_a_flat_window_is_not_blown_up_to_a_shape() -> None:
    rng = np.random.default_rng(0)
    rows = np.where(np.arange(2000) % 200 < 100, np.sin(np.arange(2000) / 4), 0) + 1e-3 * rng.normal(
        size=2000
    )
    made = windows(rows[:, None].astype(np.float32), 20)
    one = fitted(made[:1500])
    spread = made[1500:].std(axis=(1, 2))
    assert one.distances(made[1500:])[spread < 2e-3].max() < 0.1


def test_windows_of_a_few_rows_are_compared_by_value() -> None:
    one = fitted(normal(c=1, window=2))
    assert one.score(np.full((1, 2, 1), 5, np.float32)) > one.score(np.zeros((1, 2, 1), np.float32)) + 1


def test_a_channel_is_measured_in_what_windows_apart_from_each_other_differ() -> None:
    """Neighbours share all but a row: measured in their distance, every fresh window would be far."""
    one = fitted(wave(2000, noise=1.0))
    assert np.quantile(one.score(wave(1000, seed=1, noise=1.0)), 0.9) < np.log(2) + 0.1


def test_no_more_windows_are_stored_than_asked_for() -> None:
    assert fitted(normal(), stored=50).arrays()["stored"].shape == (3, 50, 10)


@pytest.mark.parametrize("key", ["spread", "within", "usual", "stored"])
def test_an_array_that_would_overflow_is_refused_by_name(key: str) -> None:
    one = fitted(normal())
    arrays = one.arrays()
    arrays[key] = np.full_like(arrays[key], 1e30 if key == "stored" else 1e-30)
    with pytest.raises(ValueError, match=f"the array {key} must be"):
        MatrixProfile.restore(one.settings(), arrays)
