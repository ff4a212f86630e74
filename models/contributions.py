"""Which channels made a window's score what it is, as shares that sum to 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .algorithm import Float32Array, Scores


def shares(parts: NDArray[Any]) -> Scores:
    """(n, c) non-negative parts of a score as shares: each row sums to 1, evenly where nothing stands out.

    >>> shares(np.array([[3., 1.], [0., 0.]])).tolist()
    [[0.75, 0.25], [0.5, 0.5]]
    """
    values = np.maximum(np.asarray(parts, np.float64), 0.0)
    total = values.sum(axis=1, keepdims=True)
    even = np.full_like(values, 1.0 / max(values.shape[1], 1))
    return np.divide(values, total, out=even, where=total > 0)


def occluded(score: Callable[[Float32Array], Scores], windows: Float32Array) -> Scores:
    """Shares by occlusion, for scores that do not fall into parts: how much lower (n, w, c) scaled windows
    score once one channel lies at its centre, which is 0. Costs c + 1 scorings."""
    whole = score(windows)
    parts = np.empty((len(windows), windows.shape[2]))
    for channel in range(windows.shape[2]):
        calm = np.array(windows, np.float32)
        calm[:, :, channel] = 0.0
        parts[:, channel] = whole - score(calm)
    return shares(parts)
