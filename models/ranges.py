"""Flagged rows, their ranges, and the figures of one set of ranges against another."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


class PrecisionRecall(NamedTuple):
    """Precision is None when nothing was alarmed: there is nothing that could be right or wrong."""

    precision: float | None
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean; 0 without an alarm."""
        if not self.precision or not self.recall:
            return 0.0
        return 2 * self.precision * self.recall / (self.precision + self.recall)


def row_by_row(alarms: NDArray[Any], labels: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) alarms and (n,) labels, above 0 being anomalous, as flags. Raises ValueError when they do not lie
    side by side."""
    alarm, truth = np.asarray(alarms, np.bool_), np.asarray(labels) > 0
    if alarm.ndim != 1 or alarm.shape != truth.shape:
        raise ValueError(f"alarms {alarm.shape} and labels {truth.shape} must be one per row, of one length")
    return alarm, truth


def ranges(flags: NDArray[Any]) -> tuple[Rows, Rows]:
    """(starts, stops) of the runs of true values among (n,) flags; a stop is the row after the last.

    >>> [edges.tolist() for edges in ranges(np.array([0, 1, 1, 0, 1]))]
    [[1, 4], [3, 5]]
    """
    edges = np.diff(np.concatenate([[0], np.asarray(flags, np.bool_).astype(np.int8), [0]]))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
