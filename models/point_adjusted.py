"""Point-adjusted F1, beside what alarms at random reach, and never without it.

Point adjustment counts every row of an event as found once a single one is. Alarms at random then find long
events almost surely, and beat most published detectors (Kim et al., AAAI 2022): the figure by itself means
nothing, so that there is no way here to get it alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .ranges import ranges, row_by_row


class PointAdjusted(NamedTuple):
    """`f1` of the detector, `random_f1` of as many alarms strewn at random: what matters is how far apart."""

    f1: float
    random_f1: float


def point_adjusted(alarms: NDArray[Any], labels: NDArray[Any]) -> PointAdjusted | None:
    """F1 of (n,) alarms against (n,) labels after point adjustment. None without labels. O(n).

    The random alarms have the same rate p: an event of l rows is missed with probability (1 - p) ** l, and
    the F1 is that of the expected counts.

    >>> found = point_adjusted(np.array([0, 1, 0, 0, 0, 0, 1, 0]), np.array([1, 1, 1, 1, 1, 0, 0, 0]))
    >>> f"{found.f1:.2f}, by chance {found.random_f1:.2f}"
    '0.91, by chance 0.80'
    """
    alarm, truth = row_by_row(alarms, labels)
    if not truth.any():
        return None
    starts, stops = ranges(truth)
    lengths = stops - starts
    alarmed = np.concatenate([[0], np.cumsum(alarm)])
    found = alarmed[stops] > alarmed[starts]
    rate = float(alarm.mean())
    normal = len(truth) - int(truth.sum())
    ours = _f1(float(lengths[found].sum()), float((alarm & ~truth).sum()), lengths)
    random = _f1(float((lengths * (1 - (1 - rate) ** lengths)).sum()), rate * normal, lengths)
    return PointAdjusted(ours, random)


def _f1(hits: float, false_alarms: float, lengths: NDArray[np.int64]) -> float:
    return 2 * hits / (hits + false_alarms + float(lengths.sum()))
