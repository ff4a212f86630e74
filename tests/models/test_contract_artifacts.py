"""What every detector's artifact keeps: the same scores when loaded, and a refusal when it was changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from homeostat.models import artifact
from homeostat.models.algorithm import algorithm
from tests.models.every import detector, every, normal, usual

ROWS = np.random.default_rng(1).normal([0, 50], [1, 10], size=(200, 2))


def restored(name: str, arrays: Mapping[str, NDArray[Any]], settings: dict[str, Any] | None = None) -> object:
    one = usual(name)
    return algorithm(name).restore(one.settings() if settings is None else settings, arrays)


@every
def test_what_was_saved_scores_the_same_when_loaded(name: str, tmp_path: Path) -> None:
    artifact.save(detector(name), tmp_path / "model", {})
    loaded = artifact.load(tmp_path / "model")
    assert (loaded.score(ROWS) == detector(name).score(ROWS)).all()
    assert loaded.algorithm.name == name
    told = [one.algorithm.contributions(normal(20, 2, 5)) for one in (loaded, detector(name))]
    assert (told[0] == told[1]).all()


@every
def test_the_same_fit_is_saved_as_the_same_bytes(name: str, tmp_path: Path) -> None:
    first = artifact.save(detector(name), tmp_path / "one", {})
    assert artifact.save(artifact.load(tmp_path / "one"), tmp_path / "two", {}) == first


@every
def test_settings_are_json_and_arrays_are_numbers(name: str) -> None:
    one = usual(name)
    settings = json.loads(json.dumps(one.settings(), allow_nan=False))
    arrays = {key: array.copy() for key, array in one.arrays().items()}
    assert all(array.dtype.kind in "fiu" for array in arrays.values())
    again = algorithm(name).restore(settings, arrays)
    assert (again.score(normal()) == one.score(normal())).all()
    assert again.shape == (8, 3)


@every
def test_an_array_that_is_missing_is_named(name: str) -> None:
    arrays = usual(name).arrays()
    for key in arrays:
        with pytest.raises(ValueError, match=key.rpartition(".")[2]):
            restored(name, {other: array for other, array in arrays.items() if other != key})


def wider(array: NDArray[Any]) -> NDArray[Any]:
    return array[None]


def empty(array: NDArray[Any]) -> NDArray[Any]:
    return array[:0]


def lacking(array: NDArray[Any]) -> NDArray[Any]:
    """One entry less along the last axis, or as text where there is but one."""
    return array[..., :-1] if array.shape[-1] > 1 else array.astype(str)


def broken(array: NDArray[Any]) -> NDArray[Any]:
    changed = array.copy()
    changed.flat[changed.size // 2] = np.nan if changed.dtype.kind == "f" else np.iinfo(changed.dtype).min
    return changed


HARMLESS = {
    ("isolation-forest", "roots", lacking),  # a forest of one tree less
}


@every
@pytest.mark.parametrize("change", [wider, empty, lacking, broken])
def test_an_array_that_was_changed_is_refused(
    name: str, change: Callable[[NDArray[Any]], NDArray[Any]]
) -> None:
    arrays = usual(name).arrays()
    for key, array in arrays.items():
        if (name, key, change) not in HARMLESS:
            with pytest.raises(ValueError, match=f"{name}|the array"):
                restored(name, arrays | {key: change(array)})


@every
@pytest.mark.parametrize(
    "shape", [[6, 2], [5, 3], [0, 2], [5], [10**9, 2], [10**400, 2], "5x2", None, [[5], 2]]
)
def test_a_shape_that_is_not_the_fitted_one_is_refused(name: str, shape: object, tmp_path: Path) -> None:
    artifact.save(detector(name), tmp_path / "model", {})
    path = tmp_path / "model" / artifact.MANIFEST
    stated = json.loads(path.read_text())
    path.write_text(json.dumps(stated | {"settings": stated["settings"] | {"shape": shape}}))
    with pytest.raises(artifact.ArtifactError, match="no usable detector"):
        artifact.load(tmp_path / "model")


@every
def test_a_setting_that_is_missing_is_refused(name: str) -> None:
    settings = usual(name).settings()
    with pytest.raises((KeyError, TypeError, ValueError)):
        restored(name, usual(name).arrays(), {})
    with pytest.raises((KeyError, TypeError, ValueError)):
        restored(name, usual(name).arrays(), {key: one for key, one in settings.items() if key != "shape"})
