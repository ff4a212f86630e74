"""The machine is scikit-learn's, scored without it, exactly or by landmarks."""

from __future__ import annotations

import numpy as np
import pytest

from homeostat.models.one_class_svm import OneClassSVM
from tests.models.every import Windows, normal


def fitted(made: Windows, **parameters: float) -> OneClassSVM:
    one = OneClassSVM(**parameters)  # type: ignore[arg-type]
    one.fit(made)
    return one


@pytest.mark.parametrize(("n", "c", "window"), [(600, 3, 8), (60, 1, 1), (300, 8, 60)])
def test_it_equals_scikit_learns_decision_function(n: int, c: int, window: int) -> None:
    from sklearn.svm import OneClassSVM as Solved

    made, fresh = normal(n, c, window), normal(n, c, window, seed=1) * 1.5
    flat = made.reshape(len(made), -1).astype(np.float64)
    reference = Solved(nu=0.05, gamma="scale").fit(flat)
    decided = reference.decision_function(fresh.reshape(len(fresh), -1))
    assert fitted(made).score(fresh) == pytest.approx(-decided, abs=1e-6)


def test_beyond_so_many_windows_it_equals_scikit_learns_approximation() -> None:
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import SGDOneClassSVM

    made, fresh = normal(600), normal(600, seed=1) * 1.5
    flat = made.reshape(len(made), -1).astype(np.float64)
    kernels = Nystroem(gamma=1 / (flat.shape[1] * flat.var()), n_components=50, random_state=0).fit(flat)
    reference = SGDOneClassSVM(nu=0.05, max_iter=20, tol=None, random_state=0).fit(kernels.transform(flat))
    decided = reference.decision_function(kernels.transform(fresh.reshape(len(fresh), -1)))
    assert fitted(made, exact=100, landmarks=50).score(fresh) == pytest.approx(-decided, abs=1e-6)


def test_the_approximation_tells_odd_windows_as_the_exact_machine_does() -> None:
    from scipy.stats import spearmanr

    made = normal(1500, window=4)
    fresh = np.concatenate([normal(200, window=4, seed=1) * scale for scale in (0.5, 1, 1.5, 2, 3)])
    exact, near = fitted(made), fitted(made, exact=100, landmarks=300)
    assert spearmanr(exact.score(fresh), near.score(fresh)).statistic > 0.95


def test_a_share_nu_of_the_fitted_windows_lies_outside() -> None:
    made = normal(1000, c=1, window=2)
    for nu in (0.02, 0.2):
        assert (fitted(made, nu=nu).score(made) > 0).mean() == pytest.approx(nu, abs=0.01)


def test_no_score_is_beyond_that_of_a_window_unlike_all_others() -> None:
    one = fitted(normal())
    assert one.score(normal() + 1e5) == pytest.approx(one.settings()["offset"])
    assert one.score(normal() * 3).max() <= one.settings()["offset"]


def test_more_windows_than_memory_allows_are_fitted_on_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeostat.models.one_class_svm._MOST_CELLS", 24 * 100)
    assert len(fitted(normal(), nu=0.9).arrays()["vectors"]) <= 100
