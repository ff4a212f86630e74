"""Synthetic anomalies, to judge detectors on rows in which nobody labelled any.

Detectors that find injected anomalies tend to be those that find real ones (Goswami et al., ICLR 2023,
"Unsupervised model selection for time series anomaly detection").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .features import Scaler

Rows = NDArray[np.float64]
Kind = Callable[[Rows, Generator], Rows]

_RANGE = (3.0, 8.0)  # sizes, in robust standard deviations of the channel: from faint to plain


def _size(rows: Rows, rng: Generator) -> Rows:
    """One signed size per channel."""
    return np.asarray(rng.uniform(*_RANGE, rows.shape[1]) * rng.choice([-1.0, 1.0], rows.shape[1]))


def spike(rows: Rows, rng: Generator) -> Rows:
    return rows + 1.5 * _size(rows, rng)


def level_shift(rows: Rows, rng: Generator) -> Rows:
    return rows + _size(rows, rng)


def drift_ramp(rows: Rows, rng: Generator) -> Rows:
    return rows + np.outer(np.linspace(0.2, 1.5, len(rows)), _size(rows, rng))


def noise_burst(rows: Rows, rng: Generator) -> Rows:
    return np.asarray(rows + rng.normal(size=rows.shape) * np.abs(_size(rows, rng)))


def flatline(rows: Rows, rng: Generator) -> Rows:
    """A sensor that hangs, and a little off: one that hangs at a usual value for a moment is no anomaly."""
    return np.asarray(np.tile(rows[:1] + 0.5 * _size(rows, rng), (len(rows), 1)))


def rescaled(rows: Rows, rng: Generator) -> Rows:
    """A changed gain: what moves, moves more; a level moves along."""
    return np.asarray(rows * rng.uniform(2.0, 4.0, rows.shape[1]) + 0.5 * _size(rows, rng))


def swapped(rows: Rows, rng: Generator) -> Rows:
    """Two sensors that change places; a single one is turned upside down."""
    return np.roll(rows, 1, axis=1) if rows.shape[1] > 1 else -rows + _size(rows, rng)


LASTING: tuple[Kind, ...] = (level_shift, drift_ramp, noise_burst, flatline, rescaled, swapped)


def inject(
    rows: NDArray[Any], *, rate: float = 0.1, seed: int = 0, window: int
) -> tuple[Rows, NDArray[np.bool_]]:
    """A copy of (n, c) raw rows in which about `rate` of them are anomalous, and (n,) labels that say which.

    Anomalies are spikes of one to three rows and lasting ones (`LASTING`) of half a window to two
    windows, on a random third or so of the channels, sized in robust standard deviations. They never touch,
    and the first `window` rows stay as they are. Deterministic by `seed`. Raises ValueError for fewer than
    2 * window + 10 rows, or a rate outside (0, 0.5].
    """
    n, c = rows.shape
    if not 0 < rate <= 0.5:
        raise ValueError(f"rate is {rate}: give a share of rows above 0 and at most 0.5")
    if n < 2 * window + 10:
        raise ValueError(f"{n} rows are too few for anomalies in windows of {window}: send {2 * window + 10}")
    rng = np.random.default_rng(seed)
    scaler = Scaler.fit(rows)
    scaled = (np.asarray(rows, np.float64) - scaler.center) / scaler.scale
    labels = np.zeros(n, bool)
    for start, stop, kind in _plan(n, window, rate, rng):
        chosen = rng.permutation(c)[: 1 + int(rng.integers(0, max(1, round(c / 3) + 1)))]
        stretch = np.ix_(np.arange(start, stop), chosen)
        scaled[stretch] = kind(scaled[stretch], rng)
        labels[start:stop] = True
    injected = np.array(rows, np.float64)
    injected[labels] = scaled[labels] * scaler.scale + scaler.center
    return injected, labels


def _plan(n: int, window: int, rate: float, rng: Generator) -> list[tuple[int, int, Kind]]:
    """Which rows become what: kinds in turn, a fifth of them spikes, spread over the rows by random gaps."""
    wanted = max(3, round(rate * n))
    longest = max(3, min(2 * window, wanted // 3, n // 8))
    lengths: list[int] = []
    kinds: list[Kind] = []
    turn = [*rng.permutation(np.array(LASTING, dtype=object)), spike]
    while sum(lengths) < wanted:
        kind = turn[len(kinds) % len(turn)]
        least, most = (1, 3) if kind is spike else (min(max(3, window // 2), longest), longest)
        lengths.append(int(rng.integers(least, most + 1)))
        kinds.append(kind)
    free = n - window - sum(lengths)
    gaps = rng.dirichlet(np.ones(len(lengths) + 1)) * max(free - len(lengths), 0)
    plan: list[tuple[int, int, Kind]] = []
    place = window
    for length, gap, kind in zip(lengths, gaps, kinds, strict=False):
        start = place + 1 + int(gap)
        stop = min(start + length, n)
        if start < stop:
            plan.append((start, stop, kind))
        place = stop
    return plan
