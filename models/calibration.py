"""Scores of rows that a detector was not fitted on, and the threshold that they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .algorithm import Algorithm, Float32Array, Scores
from .choices import ThresholdKind
from .features import Segments, runs, windows
from .folds import out_of_fold
from .spot import spot_threshold
from .threshold import blocked_quantile, conformal_quantile, wander

FITTED_SHARE = 0.75

THRESHOLDS: Mapping[ThresholdKind, Callable[[NDArray[Any], float], float]] = MappingProxyType(
    {"spot": spot_threshold, "conformal": conformal_quantile, "blocked": blocked_quantile}
)
"""From scores of rows that were not fitted, and a false-alarm rate, to a threshold."""

COSTLY = frozenset({"autoencoder", "lstm-vae", "gan", "forecaster"})
"""Algorithms that are fitted once, on three quarters of the rows, and calibrated on the rest; others are
fitted five times, and calibrated on all rows (see `folds`)."""


def rows_to_fit(name: str, borders: Segments, window: int) -> NDArray[np.bool_]:
    """Which of (n,) rows the algorithm learns from: all of them, or of each segment the first three quarters,
    at least one window."""
    if name not in COSTLY:
        return np.ones(len(borders), bool)
    learn = np.zeros(len(borders), bool)
    for one in runs(len(borders), borders):
        learn[one.start : one.start + max(round(FITTED_SHARE * (one.stop - one.start)), window)] = True
    return learn


def fitted_and_scored(
    chosen: Algorithm, ready: Float32Array, borders: Segments, learn: NDArray[np.bool_], window: int
) -> Scores:
    """Fits `chosen` on the rows of `rows_to_fit`. Returns scores of windows that it did not learn from."""
    if learn.all():
        return _out_of_fold(chosen, _windows(ready, window, borders))
    return _held_back(chosen, ready, borders, learn, window)


def limit(name: str, calm: Scores, threshold: ThresholdKind, false_alarm_rate: float) -> float:
    """The threshold for (n,) scores, in order of time, of rows that were not fitted."""
    found = THRESHOLDS[threshold](calm, false_alarm_rate)
    # Never above the highest score of the calm: where scores are bounded, as a forest's are, a threshold
    # beyond their worst would let everything pass.
    return min(found + wander(calm), float(calm.max())) if name in COSTLY else found


def _out_of_fold(chosen: Algorithm, every: Float32Array) -> Scores:
    """Fits `chosen` on all windows. Returns their scores by others of its kind that did not see them."""
    chosen.fit(every)
    known: Scores | None = getattr(chosen, "out_of_fold", None)  # an ensemble needs them for itself
    return known if known is not None else out_of_fold(_again(chosen), every)


def _again(chosen: Algorithm) -> Callable[[], Algorithm]:
    """An unfitted detector with the same parameters."""
    return lambda: replace(chosen)  # type: ignore[type-var]


def _held_back(
    chosen: Algorithm, ready: Float32Array, borders: Segments, learn: NDArray[np.bool_], window: int
) -> Scores:
    """Fits `chosen` on the rows to learn from. Returns scores of windows that end in the others, less the
    first ones, which mostly hold fitted rows: a window's worth where there are enough, else half of them."""
    chosen.fit(_windows(ready[learn], window, borders[learn]))
    scores = []
    for one in runs(len(ready), borders):
        first = one.start + int(learn[one].sum())
        every = _windows(ready[first - (window - 1) : one.stop], window, None)
        scores.append(chosen.score(every[min(window - 1, (one.stop - first) // 2) :]))
    return np.concatenate(scores)


def _windows(ready: Float32Array, window: int, borders: Segments | None) -> Float32Array:
    """Windows of prepared rows; rows that take no part are left out, and their neighbours move together."""
    whole = np.isfinite(ready).all(axis=1)
    return windows(ready[whole], window, None if borders is None else borders[whole])
