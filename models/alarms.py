"""From scores to alarms that do not flicker: smoothing, a minimum duration, and thresholds from labels.

Everything here is causal (a row is judged by rows up to it) and keeps to its segment; fed piece by piece with
the past that it asks for, each function returns what it returns for the whole, to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .algorithm import Scores
from .features import runs

MIN_ANOMALIES = 10
"""Fewer labelled anomalous rows say too little about where a threshold belongs."""


def trailing_mean(
    scores: NDArray[Any],
    rows: int,
    segments: NDArray[Any] | None = None,
    past: NDArray[Any] | None = None,
) -> Scores:
    """The mean of each of (n,) scores and the `rows` - 1 before it.

    A segment begins as if its first score had lasted; `past` are unsmoothed scores just before the first one
    and of its segment, the last `rows` - 1 of which count. O(rows * n).

    >>> trailing_mean(np.array([0., 2., 4., 6.]), 2).tolist()
    [0.0, 1.0, 3.0, 5.0]
    """
    _at_least_one("rows", rows)
    values = np.asarray(scores, np.float64)
    means = np.empty(len(values))
    for one in runs(len(values), segments):
        before = np.repeat(values[one.start], rows - 1)
        if one.start == 0 and past is not None and len(past) and rows > 1:
            known = np.asarray(past, np.float64)[-(rows - 1) :]
            before = np.concatenate([np.repeat(known[0], rows - 1 - len(known)), known])
        extended = np.concatenate([before, values[one]])
        length = one.stop - one.start
        # Adding whole columns keeps the order of the sums, so that pieces and the whole round alike.
        total = extended[:length].copy()
        for shift in range(1, rows):
            total += extended[shift : shift + length]
        means[one] = total / rows
    return means


def exponential(
    scores: NDArray[Any],
    half_life: float,
    segments: NDArray[Any] | None = None,
    last: float | None = None,
) -> Scores:
    """Exponentially weighted means of (n,) scores: a score counts half as much `half_life` rows later.

    A segment begins with its first score; `last` is the smoothed score just before the first one, if there is
    one in its segment.

    >>> exponential(np.array([0., 1., 1.]), half_life=1).tolist()
    [0.0, 0.5, 0.75]
    """
    from scipy.signal import lfilter

    if not half_life > 0:
        raise ValueError(f"half_life is {half_life}: give a number of rows above 0")
    values = np.asarray(scores, np.float64)
    kept = 0.5 ** (1 / half_life)
    smooth = np.empty(len(values))
    for one in runs(len(values), segments):
        begin = values[one.start] if last is None or one.start else last
        smooth[one] = lfilter([1 - kept], [1.0, -kept], values[one], zi=[kept * begin])[0]
    return smooth


def lasting(
    above: NDArray[np.bool_], rows: int, segments: NDArray[Any] | None = None, past: int = 0
) -> NDArray[np.bool_]:
    """Alarms that have a minimum duration: raised at the `rows`-th consecutive row above the threshold, and
    held while it lasts.

    `above` is (n,); a run does not reach across segments; `past` is how many rows just before the first one,
    in its segment, were above without a break.

    >>> lasting(np.array([True, False, True, True, True]), 2).tolist()
    [False, False, False, True, True]
    """
    _at_least_one("rows", rows)
    over = np.asarray(above, np.bool_)
    alarms = np.empty(len(over), np.bool_)
    for one in runs(len(over), segments):
        place = np.arange(one.stop - one.start)
        reset = np.maximum.accumulate(np.where(over[one], -1 - (past if one.start == 0 else 0), place))
        alarms[one] = place - reset >= rows
    return alarms


def labelled_threshold(
    scores: NDArray[Any],
    labels: NDArray[Any],
    max_false_alarm_rate: float,
    min_anomalies: int = MIN_ANOMALIES,
) -> float | None:
    """The threshold with the highest F1 among those that at most `max_false_alarm_rate` of the normal rows
    exceed; of equally good ones the highest.

    Midway between two neighbouring ones of the (n,) scores, since labels tell no difference within the gap;
    (n,) `labels` above 0 are anomalous. None where labels cannot tell: fewer than `min_anomalies` anomalous
    rows or as many normal ones, or no threshold within the budget that finds anything.

    >>> labelled_threshold(np.array([1., 2., 3., 6.]), np.array([0, 0, 1, 1]), 0.5, min_anomalies=2)
    2.5
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(labels) > 0
    if values.ndim != 1 or values.shape != truth.shape or not np.isfinite(values).all():
        raise ValueError(f"scores {values.shape} and labels {truth.shape} must be one per row, and finite")
    if not 0 <= max_false_alarm_rate <= 1:
        raise ValueError(f"max_false_alarm_rate is {max_false_alarm_rate}: give a share from 0 to 1")
    anomalies = int(truth.sum())
    normal = len(truth) - anomalies
    if min(anomalies, normal) < max(min_anomalies, 1):
        return None
    order = np.argsort(-values, kind="stable")
    falling, hits = values[order], np.cumsum(truth[order])
    ends = np.flatnonzero(np.diff(falling) < 0)  # alarms on all rows up to here; never on every row
    hits, alarms = hits[ends], ends + 1
    allowed = ((alarms - hits) <= max_false_alarm_rate * normal) & (hits > 0)
    if not allowed.any():
        return None
    best = int(np.argmax(np.where(allowed, 2 * hits / (alarms + anomalies), -1.0)))
    higher, lower = float(falling[ends[best]]), float(falling[ends[best] + 1])
    middle = lower + (higher - lower) / 2
    return middle if lower <= middle < higher else lower


def _at_least_one(name: str, rows: int) -> None:
    if rows < 1:
        raise ValueError(f"{name} is {rows}: give at least 1 row")
