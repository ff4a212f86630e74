"""Sub-PCA: relations that break show, in the channel that breaks them."""

from __future__ import annotations

import numpy as np
import pytest

from homeostat.models.algorithm import algorithm
from homeostat.models.batches import thinned
from homeostat.models.features import windows
from homeostat.models.sub_pca import SubPCA


def related(n: int = 600, window: int = 12, seed: int = 0) -> np.ndarray:
    """Three channels that follow one swing, each in its own size."""
    rng = np.random.default_rng(seed)
    swing = np.sin(np.arange(n) / 7)[:, None] * np.array([1.0, 2.0, -1.0])
    return windows((swing + rng.normal(0, 0.05, (n, 3))).astype(np.float32), window)


def test_a_channel_that_leaves_the_others_is_found_though_its_values_are_usual() -> None:
    made = related()
    one = SubPCA()
    one.fit(made)
    parted = related(seed=1).copy()
    parted[:, :, 1] *= -1  # still between its old least and most
    assert np.quantile(one.score(parted), 0.05) > np.quantile(one.score(related(seed=1)), 0.999)
    assert (one.contributions(parted).argmax(axis=1) == 1).mean() > 0.9


@pytest.mark.parametrize("statistic", ["t2", "both"])
def test_what_lies_along_the_components_shows_in_t2(statistic: str) -> None:
    made = related()
    larger = made * np.float32(6)  # the same relation, six times as far
    one = SubPCA(statistic=statistic)
    one.fit(made)
    assert one.score(larger).min() < one.score(larger).max()
    assert np.median(one.score(larger)) > np.quantile(one.score(made), 0.999)


def test_the_unit_of_a_channel_does_not_matter() -> None:
    made = related()
    scaled = made * np.array([1.0, 1000.0, 0.01], np.float32)
    first, second = SubPCA(), SubPCA()
    first.fit(made)
    second.fit(scaled)
    assert second.score(scaled) == pytest.approx(first.score(made), rel=1e-3)


def test_q_is_what_numpys_own_decomposition_leaves_over() -> None:
    made = related(window=5)
    one = SubPCA(variance=0.8)
    one.fit(made)
    flat = made.astype(np.float64)
    standard = ((flat - flat.mean((0, 1))) / flat.std((0, 1))).reshape(len(flat), -1)
    away = standard - standard.mean(0)
    _, sizes, directions = np.linalg.svd(away, full_matrices=False)
    kept = int(np.searchsorted(np.cumsum(sizes**2), 0.8 * (sizes**2).sum())) + 1
    rest = away - away @ directions[:kept].T @ directions[:kept]
    q = (rest**2).sum(1)
    assert one.score(made) == pytest.approx(np.log1p(q / np.median(q)), rel=1e-6)


def test_the_rows_of_a_wide_window_are_thinned_but_the_last_one_stays() -> None:
    rows = thinned(60, 200, 1_500)
    assert len(rows) * 200 <= 1_500
    assert rows[-1] == 59
    assert thinned(60, 8, 1_500).tolist() == list(range(60))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"statistic": "t3"}, "statistic is 't3': choose one of q, t2, both"),
        ({"variance": 1.5}, "variance is 1.5: give a number above 0 and at most 1"),
        ({"variance": "much"}, "variance is 'much'"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_with_those_that_can(
    parameters: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SubPCA(**parameters)  # type: ignore[arg-type]


def test_a_scale_of_nought_in_an_artifact_is_refused_by_name() -> None:
    one = SubPCA()
    one.fit(related())
    arrays = one.arrays() | {"scale": np.zeros(3)}
    with pytest.raises(ValueError, match="sub-pca: the array scale must be above 0"):
        algorithm("sub-pca").restore(one.settings(), arrays)
