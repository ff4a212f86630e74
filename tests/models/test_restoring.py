"""An artifact's arrays and numbers are taken only if they are exactly what the detector asks for."""

from __future__ import annotations

import re

import numpy as np
import pytest

from homeostat.models.restoring import number_of, shape_of, taken

KINDS = {"vectors": (np.float32, (None, 3)), "weights": (np.float64, (2,))}
RIGHT = {"vectors": np.ones((5, 3), np.float32), "weights": np.ones(2)}


@pytest.mark.parametrize(
    ("key", "array"),
    [
        ("vectors", np.ones((0, 3), np.float32)),
        ("vectors", np.ones((5, 4), np.float32)),
        ("vectors", np.ones(15, np.float32)),
        ("vectors", np.ones((5, 3))),
        ("weights", np.array([1.0, np.nan])),
        ("weights", np.array([1.0, -np.inf])),
        ("weights", np.ones(2, np.int64)),
    ],
)
def test_an_array_of_another_shape_kind_or_content_is_named(key: str, array: np.ndarray) -> None:
    with pytest.raises(ValueError, match=f"kmeans-ad: the array {key} must be finite float"):
        taken("kmeans-ad", RIGHT | {key: array}, KINDS)


def test_an_array_that_is_missing_or_unknown_is_named() -> None:
    with pytest.raises(ValueError, match=re.escape("the array weights must be finite float64 of shape (2)")):
        taken("kmeans-ad", {"vectors": RIGHT["vectors"]}, KINDS)
    with pytest.raises(ValueError, match="knows no array bias: it has vectors, weights"):
        taken("kmeans-ad", RIGHT | {"bias": np.ones(1)}, KINDS)


def test_arrays_come_back_contiguous() -> None:
    turned = RIGHT | {"vectors": np.ones((3, 5), np.float32).T}
    assert taken("kmeans-ad", turned, KINDS)["vectors"].flags.c_contiguous


@pytest.mark.parametrize("value", [[8, 0], [8, 10_001], [8], [8, 3, 1], [8.0, 3], [True, 3], "8x3", None, {}])
def test_a_shape_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"it must be \[rows, channels\]"):
        shape_of("kmeans-ad", value)


@pytest.mark.parametrize("value", [True, "1", None, -0.1, 10.5, float("nan"), 10**400])
def test_a_number_out_of_range_or_none_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"kmeans-ad: width is .*: it must be a number from 0 to 10"):
        number_of("kmeans-ad", "width", value, 0, 10)
