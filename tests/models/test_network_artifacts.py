"""A network's arrays and settings that were tampered with are refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from homeostat.models.algorithm import algorithm
from tests.models.every import normal
from tests.models.networks import Kind, each


@each
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda array: array[..., :0], "of shape"),
        (lambda array: np.full_like(array, np.nan), "must be finite"),
        (lambda array: array.astype(np.float64), "float32"),
        (lambda array: np.concatenate([array, array]), "of shape"),
    ],
    ids=["empty", "not a number", "double", "longer"],
)
def test_a_tampered_array_is_refused_by_name(kind: Kind, spoil: Any, said: str) -> None:
    one = kind.fitted(normal(60, 3, 9), least_steps=1)
    for key, array in one.arrays().items():
        with pytest.raises(ValueError, match=rf"{kind.name}.* {key} .*{said}"):
            algorithm(kind.name).restore(one.settings(), one.arrays() | {key: spoil(array)})


@each
def test_settings_that_the_arrays_do_not_fit_are_refused(kind: Kind) -> None:
    one = kind.fitted(normal(60, 3, 9), least_steps=1)
    for key in kind.sizes:
        with pytest.raises(ValueError, match="of shape"):
            algorithm(kind.name).restore(one.settings() | {key: one.settings()[key] + 1}, one.arrays())
    with pytest.raises(ValueError, match="shape is"):
        algorithm(kind.name).restore(one.settings() | {"shape": [0, 3]}, one.arrays())
    with pytest.raises(ValueError, match="widgets"):
        algorithm(kind.name).restore(one.settings() | {"widgets": 1}, one.arrays())
    with pytest.raises(ValueError, match="epochs"):
        algorithm(kind.name).restore(
            {key: value for key, value in one.settings().items() if key != "epochs"}, one.arrays()
        )


@each
def test_a_scale_of_nothing_is_refused(kind: Kind) -> None:
    one = kind.fitted(normal(60, 3, 9), least_steps=1)
    with pytest.raises(ValueError, match="usual must be above 0"):
        algorithm(kind.name).restore(one.settings(), one.arrays() | {"usual": np.zeros(3, np.float32)})
