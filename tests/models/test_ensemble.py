"""The ensemble: members on one scale, the useless left out, and scores for windows that no member saw."""

from __future__ import annotations

import numpy as np
import pytest

from homeostat.models.algorithm import algorithm
from homeostat.models.ensemble import Ensemble
from homeostat.models.features import windows
from homeostat.models.folds import out_of_fold
from homeostat.models.kmeans_ad import KMeansAD
from homeostat.models.proving import proving_ground, separation


def normal(n: int = 400, c: int = 3, window: int = 8, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    swing = np.sin(np.arange(n) / 9)[:, None] * np.linspace(1, 2, c)
    return windows((swing + rng.normal(0, 0.2, (n, c))).astype(np.float32), window)


def test_by_default_relations_are_watched_where_there_are_several_channels() -> None:
    many, one = Ensemble(), Ensemble()
    many.fit(normal(c=3))
    one.fit(normal(c=1))
    members = lambda made: {each["algorithm"] for each in made.settings()["fitted"]}  # noqa: E731
    assert members(many) <= {"sub-pca", "mahalanobis"}
    assert members(one) == {"kmeans-ad"}


def test_each_member_sees_the_last_rows_of_a_window_at_its_scale() -> None:
    several = Ensemble(members="kmeans-ad", scales=3, choose=0)
    several.fit(normal())
    assert sorted(each["settings"]["shape"][0] for each in several.settings()["fitted"]) == [2, 4, 8]


def test_out_of_fold_scores_are_higher_than_those_of_fitted_windows() -> None:
    several = Ensemble()
    made = normal()
    several.fit(made)
    assert several.out_of_fold is not None
    assert len(several.out_of_fold) == len(made)
    assert np.median(several.out_of_fold) > np.median(several.score(made))


def test_a_usual_window_scores_about_0_and_a_rare_one_about_1() -> None:
    several = Ensemble(members="kmeans-ad", scales=1)
    several.fit(normal())
    middle, seldom = np.quantile(several.out_of_fold, [0.5, 0.99])
    assert middle == pytest.approx(0, abs=1e-9)
    assert seldom == pytest.approx(np.arcsinh(1), rel=1e-3)  # between two neighbours


def test_sub_pca_is_left_out_where_channels_have_nothing_to_do_with_each_other() -> None:
    alone = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    for row in range(1, 400):
        alone[row] += 0.7 * alone[row - 1]  # each channel goes its own way, slowly
    related, unrelated = Ensemble(), Ensemble()
    related.fit(normal(window=40))
    unrelated.fit(windows(alone, 40))
    assert "sub-pca" in {each["algorithm"] for each in related.settings()["fitted"]}
    assert {each["algorithm"] for each in unrelated.settings()["fitted"]} == {"mahalanobis"}


def test_a_member_that_cannot_tell_anomalies_is_left_out() -> None:
    made = normal(c=1)
    chosen = Ensemble(members=("kmeans-ad", "sub-pca"), scales=1)
    everybody = Ensemble(members=("kmeans-ad", "sub-pca"), scales=1, choose=0)
    chosen.fit(made)
    everybody.fit(made)
    names = [each["algorithm"] for each in chosen.settings()["fitted"]]
    assert names[0] == "kmeans-ad"
    assert len(everybody.settings()["fitted"]) == 2
    blind = everybody._fitted[1][0]
    places, struck = proving_ground(made, 0)
    power = separation(blind.score(made[places]), blind.score(struck))
    best = separation(chosen._fitted[0][0].score(made[places]), chosen._fitted[0][0].score(struck))
    assert ("sub-pca" in names) == (power >= best - 0.2)


def test_an_ensemble_in_an_ensemble_is_refused() -> None:
    with pytest.raises(ValueError, match="ensemble cannot be its own member"):
        Ensemble(members="kmeans-ad, ensemble")
    several = Ensemble(scales=1)
    several.fit(normal())
    settings = several.settings()
    settings["fitted"][0]["algorithm"] = "ensemble"
    with pytest.raises(ValueError, match="member 0 is an ensemble itself"):
        algorithm("ensemble").restore(settings, several.arrays())


def test_an_unknown_member_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="no algorithm 'prophet': choose one of isolation-forest"):
        Ensemble(members=("prophet",))


def test_an_array_that_belongs_to_no_member_is_refused_by_name() -> None:
    several = Ensemble(scales=1)
    several.fit(normal())
    arrays = several.arrays() | {"99.center": np.zeros(3)}
    with pytest.raises(ValueError, match=r"the array 99\.center belongs to none of its members"):
        algorithm("ensemble").restore(several.settings(), arrays)


def test_a_fold_is_scored_by_a_detector_that_saw_no_row_of_it() -> None:
    """Each quarter of the rows lies elsewhere; only a detector that was shown a quarter knows it."""
    rows = np.repeat(np.array([0.0, 10.0, 20.0, 30.0], np.float32), 100)[:, None]
    made = windows(rows + np.random.default_rng(0).normal(0, 0.1, (400, 1)).astype(np.float32), 5)
    scores = out_of_fold(lambda: KMeansAD(clusters=4), made)
    known = KMeansAD(clusters=4)
    known.fit(made)
    assert scores.min() > 2
    assert np.median(known.score(made)) < 0.5


def test_too_few_windows_for_folds_are_scored_by_what_was_fitted_on_them() -> None:
    made = windows(np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32), 20)
    known = KMeansAD(clusters=2)
    known.fit(made)
    assert (out_of_fold(lambda: KMeansAD(clusters=2), made) == known.score(made)).all()


def test_the_proving_ground_strikes_the_last_rows_and_leaves_the_windows_alone() -> None:
    made = normal()
    before = made.copy()
    places, struck = proving_ground(made, 3)
    assert (made == before).all()
    changed = (struck != made[places]).any(axis=2)
    assert changed.any(axis=1).mean() > 0.95
    assert changed[:, -1].mean() > 0.9
    again = proving_ground(made, 3)
    assert (again[1] == struck).all()
