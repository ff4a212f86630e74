"""The rows that windows were cut from, told from the windows alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .algorithm import Float32Array


def stretches(windows: Float32Array) -> list[NDArray[np.float64]]:
    """The unbroken stretches of rows behind (n, w, c) windows in order: a window that repeats the one before
    it but for its last row goes on with its stretch. Windows of one row have no overlap to tell by, and make
    one stretch. Costs one look at each cell and a copy of the rows, not of the windows.

    >>> rows = np.arange(6.0, dtype=np.float32)[:, None]
    >>> made = np.stack([rows[0:3], rows[1:4], rows[3:6]])
    >>> [one[:, 0].tolist() for one in stretches(made)]
    [[0.0, 1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]
    """
    n, w, _ = windows.shape
    goes_on = np.ones(n, bool)
    for row in range(w - 1):
        goes_on[1:] &= (windows[1:, row] == windows[:-1, row + 1]).all(axis=1)
    starts = [0, *(int(one) for one in np.flatnonzero(~goes_on)), n]
    return [
        np.concatenate([windows[a, :-1], windows[a:b, -1]]).astype(np.float64)
        for a, b in pairwise(starts)
        if b > a
    ]
