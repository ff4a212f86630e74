"""What every detector keeps, whichever it is; and each one's own equality with its reference."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from homeostat.models import ALGORITHMS
from homeostat.models.algorithm import algorithm, create
from homeostat.models.autoencoder import Autoencoder
from homeostat.models.features import windows
from homeostat.models.isolation_forest import IsolationForest, taps
from tests.models.quick import QUICK

every = pytest.mark.parametrize("name", list(ALGORITHMS))


def normal(n=600, c=3, seed=0, window=8):
    return windows(np.random.default_rng(seed).normal(size=(n, c)).astype(np.float32), window)


def fitted(name, made, seed=0):
    one = create(name, QUICK[name], seed)
    one.fit(made)
    return one


@every
def test_windows_unlike_the_fitted_ones_score_higher(name):
    one = fitted(name, normal())
    assert one.score(normal(seed=1) + 6).min() > np.quantile(one.score(normal(seed=1)), 0.99)


@every
def test_an_anomaly_in_the_last_row_alone_shows(name):
    one = fitted(name, normal())
    fresh = normal(seed=1)
    struck = fresh.copy()
    struck[:, -1] += 12
    assert (one.score(struck) > one.score(fresh)).mean() > 0.95


@every
def test_the_same_seed_gives_the_same_scores_and_another_seed_others(name):
    made = normal()
    first, second, other = (fitted(name, made, seed).score(made) for seed in (3, 3, 4))
    assert (first == second).all()
    assert (first != other).any()


@every
def test_fitting_leaves_numpys_and_torchs_global_random_state_alone(name):
    import torch

    before = (np.random.get_state()[1].copy(), torch.get_rng_state().clone(), torch.get_num_threads())
    fitted(name, normal())
    assert (np.random.get_state()[1] == before[0]).all()
    assert (torch.get_rng_state() == before[1]).all()
    assert torch.get_num_threads() == before[2]


@every
def test_row_by_row_equals_all_at_once(name):
    made = normal()
    one = fitted(name, made)
    single = np.concatenate([one.score(made[place : place + 1]) for place in range(100)])
    assert single == pytest.approx(one.score(made)[:100], rel=1e-5)


@every
@pytest.mark.parametrize(("c", "window"), [(1, 8), (3, 1), (1, 1)])
def test_one_channel_and_one_row_windows_work(name, c, window):
    made = normal(c=c, window=window)
    assert fitted(name, made).score(made).shape == (len(made),)


@every
def test_constant_channel_gives_finite_scores_and_shows_when_it_moves(name):
    made = normal().copy()
    made[:, :, 1] = 0
    one = fitted(name, made)
    moved = made.copy()
    moved[:, :, 1] = 50
    assert np.isfinite(one.score(made)).all()
    if name == "autoencoder":  # no cut can be made where nothing varies
        assert one.score(moved).min() > one.score(made).max()


@every
def test_no_window_gives_no_score(name):
    assert fitted(name, normal()).score(normal()[:0]).shape == (0,)


@every
def test_settings_and_arrays_restore_the_same_scores(name):
    made = normal()
    one = fitted(name, made)
    again = algorithm(name).restore(one.settings(), one.arrays())
    assert (again.score(made) == one.score(made)).all()
    assert again.shape == (8, 3)


@every
def test_extreme_values_give_finite_scores(name):
    one = fitted(name, normal())
    assert np.isfinite(one.score(np.full((1, 8, 3), 1e6, np.float32))).all()


@every
def test_arrays_that_are_missing_are_named(name):
    one = fitted(name, normal())
    arrays = one.arrays()
    key = list(arrays)[1]
    with pytest.raises(ValueError, match=key):
        algorithm(name).restore(one.settings(), {k: v for k, v in arrays.items() if k != key})


@every
def test_scoring_loads_neither_torch_nor_scikit_learn(name):
    code = (
        "import sys, numpy as np\n"
        "from homeostat.models.algorithm import algorithm\n"
        f"algorithm({name!r})\n"
        "import homeostat.models.fitted, homeostat.models.artifact\n"
        "heavy = {'torch', 'sklearn', 'numba', 'alibi_detect', 'pandas'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_algorithm_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match="'prophet': choose one of isolation-forest, autoencoder"):
        algorithm("prophet")


def test_unknown_parameter_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match="no parameter tree: it takes trees, max_samples"):
        create("isolation-forest", {"tree": 5}, 0)


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [
        ("isolation-forest", "trees", 0),
        ("isolation-forest", "max_samples", 1.5),
        ("autoencoder", "hidden", "many"),
        ("autoencoder", "learning_rate", float("nan")),
    ],
)
def test_parameter_out_of_range_is_refused_by_name_and_value(name, parameter, value):
    with pytest.raises(ValueError, match=f"{parameter} is {value!r}"):
        create(name, {parameter: value}, 0)


def test_numbers_as_text_are_taken_as_katib_hands_them_over():
    assert create("isolation-forest", {"trees": "64"}, 0).settings()["trees"] == 64


# --- the forest --------------------------------------------------------------------------------------------
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


@pytest.mark.parametrize(
    ("key", "value"),
    [("left", -1), ("right", 10**6), ("row", 8), ("channel", 3), ("roots", 10**6), ("depth", np.nan)],
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


# --- the autoencoder ---------------------------------------------------------------------------------------
def test_autoencoder_reconstructs_as_torch_does():
    import torch

    one = fitted("autoencoder", normal())
    network = one.network(24)
    arrays = one.arrays()
    state = {
        f"{2 * k}.{kind}": torch.from_numpy(arrays[f"{kind}{k}"])
        for k in range(4)
        for kind in ("weight", "bias")
    }
    network.load_state_dict(state)
    inputs = np.random.default_rng(0).normal(size=(200, 24)).astype(np.float32)
    with torch.no_grad():
        reference = network(torch.from_numpy(inputs)).numpy()
    assert one.reconstruct(inputs) == pytest.approx(reference, abs=1e-5)


def test_autoencoder_learns_what_its_channels_have_in_common():
    rng = np.random.default_rng(0)
    common = np.sin(np.arange(1500) / 5)[:, None] * [1, -1, 2] + 0.05 * rng.normal(size=(1500, 3))
    made = windows(common.astype(np.float32), 12)
    one = Autoencoder(seed=0)
    one.fit(made[:1000])
    broken = made[1000:].copy()
    broken[:, :, 1] *= -1  # each value as usual; only their relation is not
    assert np.median(one.score(broken)) > np.quantile(one.score(made[1000:]), 0.99)


def test_one_noisy_channel_does_not_drown_an_anomaly_in_a_quiet_one():
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(size=3000) * 30, np.sin(np.arange(3000) / 9)]).astype(np.float32)
    made = windows(rows, 10)
    one = Autoencoder(seed=0)
    one.fit(made[:2000])
    moved = made[2000:].copy()
    moved[:, :, 1] += 3
    assert np.median(one.score(moved)) > np.quantile(one.score(made[2000:]), 0.98)


def test_ten_thousand_windows_of_sixty_rows_and_eight_channels_train_in_seconds():
    made = normal(n=10_059, c=8, window=60)
    started = time.process_time()
    Autoencoder(seed=0).fit(made)
    assert time.process_time() - started < 12
