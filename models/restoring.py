"""What a detector asks of the arrays that an artifact hands back to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Kind = tuple[type[Any], tuple[int | None, ...]]
"""An array's element type and shape; None stands for any length from 1."""


def taken(
    name: str, arrays: Mapping[str, NDArray[Any]], kinds: Mapping[str, Kind]
) -> dict[str, NDArray[Any]]:
    """The arrays, contiguous, once they are those of `kinds` and hold only finite values. ValueError names
    the detector, the array and what it should be.

    >>> kinds = {"centroids": (np.float64, (None, 2))}
    >>> taken("kmeans-ad", {"centroids": np.ones((3, 2))}, kinds)["centroids"].shape
    (3, 2)
    """
    strange = sorted(set(arrays) - set(kinds))
    if strange:
        raise ValueError(f"{name} knows no array {', '.join(strange)}: it has {', '.join(kinds)}")
    for key, (kind, shape) in kinds.items():
        if key not in arrays or not _fits(arrays[key], kind, shape):
            lengths = ", ".join("n" if one is None else str(one) for one in shape)
            raise ValueError(f"{name}: the array {key} must be finite {kind.__name__} of shape ({lengths})")
    return {key: np.ascontiguousarray(arrays[key]) for key in kinds}


def _fits(array: NDArray[Any], kind: type[Any], shape: tuple[int | None, ...]) -> bool:
    if array.dtype != kind or array.ndim != len(shape):
        return False
    lengths = zip(array.shape, shape, strict=True)
    return all(have == (want or have) and have > 0 for have, want in lengths) and bool(
        np.isfinite(array).all()
    )


def shape_of(name: str, value: Any) -> tuple[int, int]:
    """A window's (w, c) from an artifact's settings, neither beyond what any detector is fitted on."""
    if not (
        isinstance(value, list)
        and len(value) == 2
        and all(type(one) is int and 0 < one <= 10_000 for one in value)
    ):
        raise ValueError(f"{name}: shape is {value!r}: it must be [rows, channels], both from 1 to 10,000")
    return value[0], value[1]


def number_of(name: str, key: str, value: Any, least: float, most: float) -> float:
    """A learned number from an artifact's settings, in [least, most]."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"{name}: {key} is {value!r}: it must be a number from {least:g} to {most:g}")
    return float(value)
