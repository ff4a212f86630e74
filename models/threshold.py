"""From scores to alarms: a threshold with a false-alarm rate that was asked for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_QUARTERS = 4


def conformal_quantile(scores: NDArray[Any], false_alarm_rate: float) -> float:
    """The threshold that `false_alarm_rate` of fresh normal scores exceed, at most.

    `scores` are those of normal rows that the detector was not fitted on. With n of them it is the
    ceil((n + 1)(1 - rate))-th smallest, which holds the rate for any exchangeable scores (Vovk et al. 2005,
    inductive conformal prediction); with too few, it is the largest of them.

    >>> conformal_quantile(np.arange(99.0), 0.1)
    89.0
    """
    if not 0 < false_alarm_rate < 1:
        raise ValueError(f"false_alarm_rate is {false_alarm_rate}: give a share between 0 and 1")
    values = np.sort(np.asarray(scores, np.float64))
    if not len(values) or not np.isfinite(values).all():
        raise ValueError("a threshold needs at least one score, and every score finite")
    place = math.ceil((len(values) + 1) * (1 - false_alarm_rate) - 1e-9)
    return float(values[min(place, len(values)) - 1])


def blocked_quantile(scores: NDArray[Any], false_alarm_rate: float, blocks: int = _QUARTERS) -> float:
    """The median of the conformal quantiles of contiguous blocks, for scores whose level wanders.

    (n,) `scores` are in order of time, out of fold (`folds.out_of_fold`) or held back. A quantile of all of
    them is that of the block which is furthest off: the first hour of a machine that warms up, or one with an
    anomaly that nobody labelled. Half of the blocks have no say here, so that neither lifts the threshold.
    On scores that are alike everywhere the rate holds, the more strictly the fewer scores a block has.

    On SKAB (first 400 rows of each run fitted, sub-PCA, 2 %) F1 was 0.82 at 17 % false alarms and 20 %
    missed, against 0.76 at 12 % and 33 % with the quantile of all out-of-fold scores. Little hangs on the
    settings: 4 or 8 blocks, 2 or 5 %, scores smoothed over 1 to 10 rows, and F1 was 0.82 at 17 to 25 %.

    >>> calm = np.arange(99.0)
    >>> blocked_quantile(np.concatenate([calm, calm + 900, calm, calm]), 0.1)
    89.0
    """
    values = np.asarray(scores, np.float64)
    if len(values) < blocks:
        return conformal_quantile(values, false_alarm_rate)
    parts = np.array_split(values, blocks)
    return float(np.median([conformal_quantile(one, false_alarm_rate) for one in parts]))


def wander(scores: NDArray[Any]) -> float:
    """How far the level of (n,) scores, in order of time, moved: the range of the medians of their quarters.

    Conformal quantiles hold for exchangeable scores, but a machine warms up and rooms cool down. What
    the level did while it was calibrated it may well do again after, so a threshold is lifted by that much.
    Scores on one level wander by chance alone, the less the more there are: a rate of 5 % became 3 % with a
    thousand autocorrelated scores, and 4.5 % with five thousand.

    >>> wander(np.array([1., 1., 2., 2., 3., 3., 2., 2.]))
    2.0
    """
    if len(scores) < _QUARTERS:
        return 0.0
    levels = [float(np.median(part)) for part in np.array_split(scores, _QUARTERS)]
    return max(levels) - min(levels)
