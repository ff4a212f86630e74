"""The forest is scikit-learn's, walked by compiled code that no artifact leads astray."""

from __future__ import annotations

import numpy as np
import pytest

from homeostat.models.algorithm import create
from homeostat.models.isolation_forest import IsolationForest, stirred, taps
from tests.models.every import fitted, normal


def test_another_seed_grows_another_forest():
    made = normal()
    assert (
        fitted("isolation-forest", made, 3).score(made) != fitted("isolation-forest", made, 4).score(made)
    ).any()


@pytest.mark.parametrize(("n", "window"), [(600, 8), (60, 8), (700, 100), (9, 8)])
def test_forest_equals_scikit_learns_score_samples(n, window):
    from sklearn.ensemble import IsolationForest as Grown

    made = normal(n=n if n > window else window + 1, window=window)
    one = IsolationForest(trees=30, seed=5)
    one.fit(made)
    flat = made[:, taps(window)].reshape(len(made), -1)
    reference = Grown(n_estimators=30, max_samples=min(256, len(made)), random_state=5).fit(flat)
    assert one.score(made) == pytest.approx(-reference.score_samples(flat), abs=1e-6)


def test_forest_of_one_window_calls_every_window_as_odd_as_any_other():
    one = IsolationForest(trees=3)
    one.fit(normal()[:1])
    assert (one.score(normal()) == 0.5).all()


def test_forest_fits_more_windows_than_memory_allows_on_a_sample_of_them(monkeypatch):
    monkeypatch.setattr("homeostat.models.isolation_forest._MOST_CELLS", 3 * 8 * 300)
    assert fitted("isolation-forest", normal()).score(normal()).mean() < 0.55


def beside_constants(channels: list[int]) -> np.ndarray:
    made = normal().copy()
    made[:, :, channels] = 0
    return made


@pytest.mark.parametrize("channels", [[1], [0, 1], [0, 1, 2]])
@pytest.mark.parametrize("by", [-0.5, 6])
def test_a_constant_channel_that_moves_is_seen_and_named(channels, by):
    made = beside_constants(channels)
    one = fitted("isolation-forest", made)
    moved = made[:100].copy()
    moved[:, :, 1] = by
    assert (one.score(moved) > one.score(made[:100])).mean() > 0.95
    assert (one.contributions(moved).argmax(axis=1) == 1).mean() > 0.9


def test_only_cells_that_never_vary_are_given_noise_and_little_of_it():
    made = beside_constants([1])
    cells = made.reshape(len(made), -1)
    before = cells.copy()
    changed = stirred(cells.copy(), 0) - cells
    still = np.arange(cells.shape[1]) % 3 == 1
    assert (changed[:, ~still] == 0).all()
    assert (changed[:, still].std(axis=0) > 0).all()
    assert np.abs(changed).max() < 0.01
    fitted("isolation-forest", made)
    assert (cells == before).all(), "the windows that were handed over stay as they were"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("left", -1),
        ("right", 10**6),
        ("row", 8),
        ("channel", 3),
        ("roots", 10**6),
        ("depth", np.nan),
        ("cut", np.nan),
    ],
)
def test_forest_with_a_way_out_of_its_arrays_is_refused(key, value):
    one = fitted("isolation-forest", normal())
    arrays = {name: array.copy() for name, array in one.arrays().items()}
    arrays[key][0] = value
    with pytest.raises(ValueError, match="do not hold together"):
        IsolationForest.restore(one.settings(), arrays)


def test_forest_that_goes_round_for_ever_is_refused():
    one = fitted("isolation-forest", normal())
    arrays = {name: array.copy() for name, array in one.arrays().items()}
    arrays["left"][1] = 0
    with pytest.raises(ValueError, match="do not hold together"):
        IsolationForest.restore(one.settings(), arrays)


def test_forest_refuses_windows_of_another_shape():
    with pytest.raises(ValueError, match=r"windows of \(9, 3\)"):
        fitted("isolation-forest", normal()).score(normal(window=9))


@pytest.mark.parametrize(("parameter", "value"), [("trees", 0), ("max_samples", 1.5)])
def test_a_parameter_out_of_range_is_refused_by_name_and_value(parameter, value):
    with pytest.raises(ValueError, match=f"{parameter} is {value!r}"):
        create("isolation-forest", {parameter: value}, 0)
