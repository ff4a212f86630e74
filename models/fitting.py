"""From rows to a fitted detector whose threshold keeps its word on rows that nobody has seen yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .alarms import labelled_threshold, trailing_mean
from .algorithm import Algorithm, Float32Array, Scores, create
from .features import ScalerKind, Segments, runs, windows
from .fitted import Fitted, checked
from .folds import out_of_fold
from .missing import Missing
from .preparation import Preparation
from .spot import spot_threshold
from .threshold import blocked_quantile, conformal_quantile, wander

_FITTED_SHARE = 0.75
_LARGEST_REFERENCE = 2_000  # rows; a drift test's cost grows with their square
_NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})

ThresholdKind = Literal["spot", "conformal", "blocked"]
THRESHOLDS: Mapping[str, Callable[[NDArray[Any], float], float]] = MappingProxyType(
    {"spot": spot_threshold, "conformal": conformal_quantile, "blocked": blocked_quantile}
)
"""From scores of rows that were not fitted, and a false-alarm rate, to a threshold."""

COSTLY = frozenset({"autoencoder", "lstm-vae", "gan", "forecaster"})
"""Algorithms that are fitted once, on three quarters of the rows, and calibrated on the rest; others are
fitted five times, and calibrated on all rows (see `folds`)."""


@dataclass(frozen=True)
class Labelled:
    """Rows that somebody labelled: (n, c) raw rows, (n,) labels above 0 for anomalies, (n,) segments, and the
    (n,) phase of `Preparation.fit`, used where the season was fitted with one."""

    rows: NDArray[Any]
    labels: NDArray[Any]
    segments: NDArray[Any] | None = None
    phase: NDArray[Any] | None = None


def fit(
    name: str,
    rows: NDArray[Any],
    *,
    channels: Sequence[str],
    window: int,
    scaler: ScalerKind = "robust",
    decompose: Literal["none", "stl", "mstl"] = "none",
    periods: Sequence[int] = (),
    statistics: Sequence[str] = (),
    missing: str = "refuse",
    baseline: int = 0,
    segments: NDArray[Any] | None = None,
    phase: NDArray[Any] | None = None,
    parameters: Mapping[str, Any] = _NO_PARAMETERS,
    seed: int = 0,
    threshold: ThresholdKind = "spot",
    false_alarm_rate: float = 0.02,
    smoothing: int = 1,
    min_duration: int = 1,
    labelled: Labelled | None = None,
) -> Fitted:
    """Fits on (n, c) raw rows; finds the threshold that a share of `false_alarm_rate` of normal rows exceeds.

    The threshold comes from scores of rows that the detector was not fitted on, because fitted rows flatter
    themselves: on SKAB the 0.99 quantile of fitted scores gave 40 to 60 % false alarms. Where fitting is
    cheap every row is scored out of fold; COSTLY algorithms hold the last quarter of each segment back, and
    lift the threshold by how far the level of scores wandered there, at most to the highest of them. Labels,
    where there are some, can only raise it: fitted rows say too little about how low it may be.

    `segments`, `phase`, `scaler`, `decompose`, `periods`, `statistics`, `missing` and `baseline` are those
    of `Preparation.fit`; `smoothing` and `min_duration` those of `Fitted`. Raises ValueError when there are
    too few rows, or the parameters do not fit.
    """
    chosen = create(name, parameters, seed)
    if threshold not in THRESHOLDS:
        raise ValueError(f"threshold is {threshold!r}: choose one of {', '.join(THRESHOLDS)}")
    values = checked(rows, channels, finite=Missing.parse(missing).policy == "refuse")
    usable = [one for one in runs(len(values), segments) if one.stop - one.start >= 2 * window + 8]
    if not usable:
        raise ValueError(
            f"no segment of {len(values)} rows is long enough: a window of {window} needs {2 * window + 8}"
            " consecutive rows; send more rows or shorten the window"
        )
    kept = np.concatenate([np.arange(one.start, one.stop) for one in usable])
    borders = np.repeat(np.arange(len(usable)), [one.stop - one.start for one in usable])
    values, times = values[kept], None if phase is None else np.asarray(phase)[kept]
    options: dict[str, Any] = {"scaler": scaler, "decompose": decompose, "periods": tuple(periods)}
    options |= {"statistics": tuple(statistics), "missing": missing, "baseline": baseline}
    learn = _fitted_rows(borders, window) if name in COSTLY else np.ones(len(values), bool)
    prepared = Preparation.fit(
        values[learn], borders[learn], phase=None if times is None else times[learn], **options
    )
    ready = prepared.transform(values, borders, times)
    calm = (_held_back if name in COSTLY else _out_of_fold)(chosen, ready, borders, learn, window)
    calm = trailing_mean(calm, smoothing)
    limit = THRESHOLDS[threshold](calm, false_alarm_rate)
    if name in COSTLY:
        # Never above the highest score of the calm: where scores are bounded, as a forest's are, a threshold
        # beyond their worst would let everything pass.
        limit = min(limit + wander(calm), float(calm.max()))
    longest = max(runs(len(values), borders), key=lambda one: one.stop - one.start)
    fitted = Fitted(
        chosen,
        tuple(channels),
        window,
        prepared,
        limit,
        _reference(values[longest]),
        smoothing,
        min_duration,
    )
    return fitted if labelled is None else _taught(fitted, labelled, false_alarm_rate)


def _reference(rows: NDArray[np.float64]) -> Float32Array:
    """The last quarter of a stretch, at most 2,000 rows of it, those without a number left out."""
    whole = rows[np.isfinite(rows).all(axis=1)]
    held = whole[round(_FITTED_SHARE * len(whole)) :]
    return np.asarray(held[-_LARGEST_REFERENCE:], np.float32)


def _fitted_rows(borders: Segments, window: int) -> NDArray[np.bool_]:
    """The first three quarters of each segment, at least one window."""
    learn = np.zeros(len(borders), bool)
    for one in runs(len(borders), borders):
        learn[one.start : one.start + max(round(_FITTED_SHARE * (one.stop - one.start)), window)] = True
    return learn


def _out_of_fold(
    chosen: Algorithm, ready: Float32Array, borders: Segments, learn: NDArray[np.bool_], window: int
) -> Scores:
    """Fits `chosen` on all rows. Returns scores of every window by others of its kind that did not see it."""
    every = _windows(ready, window, borders)
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


def _taught(fitted: Fitted, labelled: Labelled, false_alarm_rate: float) -> Fitted:
    season = fitted.preparation.decomposition
    phase = labelled.phase if season and season.clocked else None
    scores = fitted.score(labelled.rows, labelled.segments, phase)
    best = labelled_threshold(scores, labelled.labels, false_alarm_rate)
    return fitted if best is None or best <= fitted.threshold else replace(fitted, threshold=best)
