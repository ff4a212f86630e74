"""Synthetic anomalies in single windows, on which detectors prove themselves where nobody labelled any."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .algorithm import Float32Array, Scores
from .injection import LASTING, spike

_MOST = 256  # windows: enough to tell 0.02 of separation


def proving_ground(windows: Float32Array, seed: int) -> tuple[NDArray[np.int64], Float32Array]:
    """Some of (n, w, c) scaled windows by their places (m,), and copies of them (m, w, c) with an anomaly in
    their last rows: kinds in turn, on a random third or so of the channels, a spike in one row and the others
    over a quarter of the window to all of it."""
    n, w, c = windows.shape
    rng = np.random.default_rng(seed)
    places = np.sort(rng.permutation(n)[:_MOST])
    struck = windows[places].astype(np.float64)
    kinds = (*LASTING, spike)
    for place in range(len(struck)):
        kind = kinds[place % len(kinds)]
        rows = 1 if kind is spike else int(rng.integers(max(w // 4, 1), w + 1))
        chosen = rng.permutation(c)[: 1 + int(rng.integers(0, max(1, round(c / 3) + 1)))]
        cells = np.ix_(np.arange(w - rows, w), chosen)
        struck[place][cells] = kind(struck[place][cells], rng)
    return places, struck.astype(np.float32)


def separation(calm: Scores, struck: Scores) -> float:
    """The probability that a struck window scores higher than a calm one: the area under the ROC curve.

    >>> separation(np.array([0., 1.]), np.array([1., 2.]))
    0.875
    """
    order = np.sort(calm)
    below = np.searchsorted(order, struck, side="left") + np.searchsorted(order, struck, side="right")
    return float(below.mean() / (2 * len(calm)))
