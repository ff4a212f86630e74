"""From rows to a fitted detector whose threshold keeps its word on rows that nobody has seen yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .alarms import labelled_threshold, trailing_mean
from .algorithm import Float32Array, create
from .calibration import FITTED_SHARE, THRESHOLDS, fitted_and_scored, limit, rows_to_fit
from .choices import DecomposeKind, ScalerKind, ThresholdKind
from .features import Segments, runs
from .fitted import Fitted, checked
from .missing import Missing
from .preparation import Preparation

_LARGEST_REFERENCE = 2_000  # rows; a drift test's cost grows with their square
_NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})


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
    decompose: DecomposeKind = "none",
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
    cheap every row is scored out of fold; costly algorithms hold the last quarter of each segment back, and
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
    kept, borders = _usable(len(values), segments, window)
    values, times = values[kept], None if phase is None else np.asarray(phase)[kept]
    learn = rows_to_fit(name, borders, window)
    prepared = Preparation.fit(
        values[learn],
        borders[learn],
        scaler=scaler,
        decompose=decompose,
        periods=tuple(periods),
        statistics=tuple(statistics),
        missing=missing,
        baseline=baseline,
        phase=None if times is None else times[learn],
    )
    calm = fitted_and_scored(chosen, prepared.transform(values, borders, times), borders, learn, window)
    highest = limit(name, trailing_mean(calm, smoothing), threshold, false_alarm_rate)
    reference = _reference(values, borders)
    fitted = Fitted(chosen, tuple(channels), window, prepared, highest, reference, smoothing, min_duration)
    return fitted if labelled is None else _taught(fitted, labelled, false_alarm_rate)


def _usable(n: int, segments: NDArray[Any] | None, window: int) -> tuple[NDArray[np.int64], Segments]:
    """Which of n rows lie in stretches that are long enough, and the number of its stretch for each."""
    least = 2 * window + 8
    usable = [one for one in runs(n, segments) if one.stop - one.start >= least]
    if not usable:
        raise ValueError(
            f"no segment of {n} rows is long enough: a window of {window} needs {least}"
            " consecutive rows; send more rows or shorten the window"
        )
    kept = np.concatenate([np.arange(one.start, one.stop) for one in usable])
    return kept, np.repeat(np.arange(len(usable)), [one.stop - one.start for one in usable])


def _reference(rows: NDArray[np.float64], borders: Segments) -> Float32Array:
    """The last quarter of the longest stretch, at most 2,000 rows of it, those without a number left out."""
    longest = rows[max(runs(len(rows), borders), key=lambda one: one.stop - one.start)]
    whole = longest[np.isfinite(longest).all(axis=1)]
    held = whole[round(FITTED_SHARE * len(whole)) :]
    return np.asarray(held[-_LARGEST_REFERENCE:], np.float32)


def _taught(fitted: Fitted, labelled: Labelled, false_alarm_rate: float) -> Fitted:
    season = fitted.preparation.decomposition
    phase = labelled.phase if season and season.clocked else None
    scores = fitted.score(labelled.rows, labelled.segments, phase)
    best = labelled_threshold(scores, labelled.labels, false_alarm_rate)
    return fitted if best is None or best <= fitted.threshold else replace(fitted, threshold=best)
