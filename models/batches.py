"""Windows a bounded number at a time: a view of many overlapping windows is never copied whole."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .algorithm import Float32Array

_CELLS = 2_000_000  # values held at once; 16 MB in double precision
_FITTED_CELLS = 20_000_000  # 160 MB


def batches(windows: Float32Array, beside: int = 0) -> Iterator[tuple[slice, Float32Array]]:
    """(n, w, c) windows in pieces, each with its place, of as many windows as keep memory bounded when the
    caller computes `beside` further values per window.

    >>> [place.stop for place, _ in batches(np.zeros((5, 1000, 1000), np.float32))]
    [2, 4, 5]
    """
    n, w, c = windows.shape
    size = max(1, _CELLS // max(w * c + beside, 1))
    for start in range(0, n, size):
        yield slice(start, min(start + size, n)), windows[start : start + size]


def flat(windows: Float32Array) -> NDArray[np.float64]:
    """(n, w, c) windows as (n, w * c) rows in double precision."""
    return np.asarray(windows, np.float64).reshape(len(windows), -1)


def thinned(window: int, channels: int, most: int) -> NDArray[np.int64]:
    """The rows of a window of which at most so many values are looked at: all, or evenly some, the last among
    them.

    >>> thinned(4, 2, 100).tolist(), thinned(60, 200, 600).tolist()
    ([0, 1, 2, 3], [0, 30, 59])
    """
    rows = max(1, min(window, most // channels))
    return np.asarray(np.unique(np.rint(np.linspace(window - 1, 0, rows))), np.int64)


def thinned_and_drawn(windows: Float32Array, most_values: int, seed: int) -> Float32Array:
    """What of (n, w, c) windows an algorithm fits on that holds them all at once: at most `most_values` of
    each, see `thinned`, and of so many windows, two at least, as come to 20 million values in all.

    >>> thinned_and_drawn(np.zeros((1_000, 60, 200), np.float32), 600, 0).shape
    (1000, 3, 200)
    """
    n, w, c = windows.shape
    rows = thinned(w, c, most_values)
    chosen = drawn(n, max(2, _FITTED_CELLS // (len(rows) * c)), seed)
    return np.asarray(windows[np.ix_(chosen, rows)])


def drawn(n: int, most: int, seed: int) -> NDArray[np.int64]:
    """Which of n windows to keep when there may be at most so many: all, or a sample by seed, in order.

    >>> drawn(3, 5, 0).tolist(), len(drawn(100, 5, 0))
    ([0, 1, 2], 5)
    """
    if n <= most:
        return np.arange(n)
    return np.asarray(np.sort(np.random.default_rng(seed).permutation(n)[:most]), np.int64)
