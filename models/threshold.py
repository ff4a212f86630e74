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
