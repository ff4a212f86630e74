"""The centres are scikit-learn's, the distances exact."""

from __future__ import annotations

import numpy as np
import pytest

from homeostat.models.kmeans_ad import KMeansAD
from tests.models.every import normal


def test_a_score_is_the_distance_to_the_nearest_centre_per_cell() -> None:
    from sklearn.cluster import KMeans

    made, fresh = normal(), normal(seed=1) * 2
    one = KMeansAD(clusters=8, seed=4)
    one.fit(made)
    flat = made.reshape(len(made), -1).astype(np.float64)
    reference = KMeans(8, n_init=3, random_state=4).fit(flat)
    far = reference.transform(fresh.reshape(len(fresh), -1).astype(np.float64)).min(axis=1)
    assert one.score(fresh) == pytest.approx(far / np.sqrt(24), rel=1e-6)


def test_fewer_different_windows_than_clusters_each_get_a_centre() -> None:
    made = np.repeat(normal()[:5], 30, axis=0)
    one = KMeansAD(clusters=20)
    one.fit(made)
    assert one.arrays()["centroids"].shape == (5, 24)
    assert one.score(made).max() < 1e-6


def test_a_small_difference_far_from_zero_keeps_its_digits() -> None:
    made = np.full((50, 8, 3), 1e6, np.float32)
    one = KMeansAD()
    one.fit(made)
    assert one.score(made + np.float32(0.5)) == pytest.approx(np.full(50, 0.5))


def test_contributions_are_the_channels_shares_in_the_squared_distance() -> None:
    one = KMeansAD(clusters=1)
    one.fit(np.zeros((20, 4, 2), np.float32))
    struck = np.zeros((1, 4, 2), np.float32)
    struck[0, :, 0], struck[0, 1, 1] = 1, 2
    assert one.contributions(struck).tolist() == [[0.5, 0.5]]
