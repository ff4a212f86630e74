"""Range-based precision and recall (Tatbul et al., NeurIPS 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ranges import PrecisionRecall, Rows, ranges, row_by_row


def range_based(alarms: NDArray[Any], labels: NDArray[Any], existence: float = 0.2) -> PrecisionRecall | None:
    """How well ranges of (n,) alarms cover ranges of (n,) labels, every range counting the same. O(n).

    The recall of a labelled range is `existence` (the paper's alpha) for any overlap at all, and the rest of
    1 times the covered share of its rows, divided by the number of alarms that cover it, since an anomaly
    that is told in pieces is a nuisance. Precision is that of alarms over labels, without the existence
    reward. The bias is flat: early rows count as late ones; 0.2 is what TSB-AD takes. None without labels.

    >>> range_based(np.array([0, 1, 1, 0, 0, 1]), np.array([0, 0, 1, 1, 1, 1]), existence=0)
    PrecisionRecall(precision=0.75, recall=0.25)
    """
    alarm, truth = row_by_row(alarms, labels)
    if not 0 <= existence <= 1:
        raise ValueError(f"existence is {existence}: give a share from 0 to 1")
    if not truth.any():
        return None
    alarmed, labelled = ranges(alarm), ranges(truth)
    reward, found = _overlap(labelled, alarmed, alarm)
    recall = float((existence * found + (1 - existence) * reward).mean())
    precision = float(_overlap(alarmed, labelled, truth)[0].mean()) if alarm.any() else None
    return PrecisionRecall(precision, recall)


def _overlap(
    of: tuple[Rows, Rows], others: tuple[Rows, Rows], flags: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """For each range its share of flagged rows over the number of other ranges there, and whether any is."""
    starts, stops = of
    rows = np.concatenate([[0], np.cumsum(flags)])
    pieces = np.searchsorted(others[0], stops) - np.searchsorted(others[1], starts, side="right")
    share = (rows[stops] - rows[starts]) / (stops - starts)
    return share / np.maximum(pieces, 1), pieces > 0
