"""What callers hand in, as arrays of the right form; what each cell holds is for others to judge."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def table(rows: NDArray[Any], channels: int | None = None) -> NDArray[np.float64]:
    """(n, c) float64; ValueError when it is not that, or c is not `channels`."""
    values = np.asarray(rows, np.float64)
    if values.ndim != 2 or values.shape[1] != (channels or values.shape[1]) or not values.shape[1]:
        raise ValueError(f"rows have shape {values.shape}: give (rows, {channels or 'channels'})")
    return values


def clock(phase: NDArray[Any] | None, n: int) -> NDArray[np.int64] | None:
    """(n,) whole numbers, each row's time in periods of its grid, or None; ValueError when it is neither."""
    if phase is None:
        return None
    times = np.asarray(phase)
    if times.shape != (n,) or times.dtype.kind not in "iu":
        raise ValueError(
            f"phase is {times.dtype} of shape {times.shape}: give a whole number per row, ({n},)"
        )
    return times.astype(np.int64)
