"""A detector of PyOD scores as it does there, comes back from an artifact, and no other name gets in."""

from __future__ import annotations

import ast
import inspect
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyod.models
import pytest

from homeostat.models import pyod_detector
from homeostat.models.algorithm import algorithm, create
from homeostat.models.pyod_names import DETECTORS, REASONS
from tests.models.every import normal

EVERY = pytest.mark.parametrize("kind", sorted(DETECTORS))


def pyods(kind: str, **parameters: Any) -> Any:
    return getattr(import_module(f"pyod.models.{kind.lower()}"), kind)(**parameters)


def fitted(kind: str, seed: int = 0, **parameters: Any) -> Any:
    one = create(f"pyod:{kind}", {"samples": 100} | parameters, seed)
    one.fit(normal(100, window=4))
    return one


@EVERY
def test_it_comes_back_to_the_same_scores_without_a_pickle(kind: str) -> None:
    one = fitted(kind, seed=7)
    again = algorithm(f"pyod:{kind}").restore(one.settings(), one.arrays())
    assert (again.score(normal(50, window=4, seed=1)) == one.score(normal(50, window=4, seed=1))).all()


@EVERY
def test_it_leaves_numpys_global_state_alone_and_is_its_own_seeds(kind: str) -> None:
    before = repr(np.random.get_state())
    first = fitted(kind, seed=5).score(normal(50, window=4))
    assert repr(np.random.get_state()) == before
    np.random.normal(size=3)
    assert (fitted(kind, seed=5).score(normal(50, window=4)) == first).all()


@EVERY
def test_windows_far_out_are_scored_with_numbers(kind: str) -> None:
    assert np.isfinite(fitted(kind).score(np.full((3, 4, 3), 1e6, np.float32))).all()


@pytest.mark.parametrize("kind", ["KNN", "LOF", "IForest", "HBOS", "PCA"])
def test_it_scores_as_pyod_does_on_the_flattened_windows(kind: str) -> None:
    made, fresh = normal(100, window=4), normal(60, window=4, seed=1) * 2
    flat = [one.reshape(len(one), -1).astype(np.float64) for one in (made, fresh)]
    takes = inspect.signature(pyods(kind).__class__).parameters
    reference = pyods(kind, **({"random_state": 3} if "random_state" in takes else {}))
    reference.fit(flat[0])
    assert fitted(kind, seed=3).score(fresh) == pytest.approx(reference.decision_function(flat[1]))


@pytest.mark.parametrize("kind", ["ECOD", "COPOD"])
def test_tails_are_those_of_pyod_asked_about_one_row_at_a_time(kind: str) -> None:
    rng = np.random.default_rng(0)
    made, fresh = (np.round(rng.normal(size=(80, 2, 3)) * scale, 1).astype(np.float32) for scale in (1, 2))
    made[:, 1] = made[:, 1] ** 3  # skewed columns, and ties in all of them
    one = create(f"pyod:{kind}", {}, 0)
    one.fit(made)
    reference = pyods(kind)
    reference.fit(made.reshape(80, -1).astype(np.float64))
    alone = [reference.decision_function(row.reshape(1, -1).astype(np.float64))[0] for row in fresh]
    assert one.score(fresh) == pytest.approx(alone)


def test_parameters_are_pyods_own_and_change_what_they_should() -> None:
    fresh = normal(30, window=4, seed=1)
    assert (fitted("KNN", n_neighbors=20).score(fresh) > fitted("KNN", n_neighbors=2).score(fresh)).all()
    assert fitted("KNN", n_neighbors="20").settings() == fitted("KNN", n_neighbors=20).settings()
    with pytest.raises(
        ValueError, match=r"pyod:KNN has no parameter contamination: it takes samples, n_neighbors"
    ):
        fitted("KNN", contamination=0.2)


@pytest.mark.parametrize(
    "value", [10**6, 10**400, float("nan"), 1e300, "os.system('true')", [1], {"a": 1}, b"x"]
)
def test_a_parameter_that_is_no_plain_value_in_bounds_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="n_neighbors is"):
        create("pyod:KNN", {"n_neighbors": value}, 0)


def test_a_parameter_that_pyod_itself_refuses_is_told_with_its_words() -> None:
    with pytest.raises(
        ValueError, match=r"pyod:KNN cannot be fitted on 97 windows of 12 values: .*n_neighbors"
    ):
        fitted("KNN", n_neighbors=500)


def test_an_unknown_name_is_answered_with_close_ones_and_a_known_one_with_the_reason() -> None:
    with pytest.raises(ValueError, match="no algorithm 'pyod:ECO': choose pyod:ECOD"):
        algorithm("pyod:ECO")
    with pytest.raises(ValueError, match="no algorithm 'pyod:VAE': it is a network"):
        algorithm("pyod:VAE")


@pytest.mark.parametrize(
    "kind", ["os", "base", "../os", "knn.KNN", "subprocess", "BaseDetector", "KNN:x", ""]
)
def test_a_name_outside_the_list_imports_nothing(kind: str) -> None:
    before = set(sys.modules)
    with pytest.raises(ValueError, match="no algorithm 'pyod:"):
        algorithm(f"pyod:{kind}")
    assert set(sys.modules) == before


def test_every_detector_of_pyods_models_is_offered_or_its_absence_explained() -> None:
    """Graphs, texts, sounds and pictures have detectors of their own there, which take no windows."""
    folder = Path(next(iter(pyod.models.__path__)))
    found = set()
    for path in folder.glob("*.py"):
        if not path.stem.startswith(("pyg_", "audio_", "embedding", "base")):
            for one in ast.parse(path.read_text()).body:
                if isinstance(one, ast.ClassDef) and any("BaseD" in ast.unparse(base) for base in one.bases):
                    found.add(one.name)
    assert found - {*DETECTORS, *REASONS} == set()
    assert {*DETECTORS, *REASONS} - found == set()


def test_a_window_that_a_detector_takes_too_long_for_is_refused_with_the_mend() -> None:
    one = create("pyod:MCD", {}, 0)
    with pytest.raises(ValueError, match=r"at most 128 values, these have 60 rows \* 8 channels: shorten"):
        one.fit(normal(100, 8, 60))


def test_a_refit_that_scores_otherwise_is_refused() -> None:
    one = fitted("KNN")
    arrays = one.arrays()
    arrays["expected"] = arrays["expected"] * 1.01
    with pytest.raises(ValueError, match=r"does not give the scores in the array expected; this is pyod \d"):
        algorithm("pyod:KNN").restore(one.settings(), arrays)


def test_more_windows_than_are_ever_saved_are_not_fitted_on_loading() -> None:
    one = fitted("KNN")
    many = {"windows": np.zeros((2_001, 12), np.float32), "expected": one.arrays()["expected"][:32]}
    with pytest.raises(ValueError, match="the array windows is larger than any that is saved"):
        algorithm("pyod:KNN").restore(one.settings(), many)


def test_a_machine_without_pyod_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyod.models.knn", None)
    pyod_detector.detector.cache_clear()
    pyod_detector._class_of.cache_clear()
    with pytest.raises(ValueError, match="pyod:KNN needs PyOD: pip install pyod"):
        algorithm("pyod:KNN")
