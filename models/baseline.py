"""Rows less where their channels lately were: slow change is followed, a new regime begins anew.

A rig warms up, rooms cool down, and a rebuilt machine runs on other levels than before. A detector of levels
takes all of that for anomalies. Less its trailing median a channel keeps what happens within the memory, and
a fault that lasts less than half of it stands out in full, for the median does not follow it (Hampel, 1974).
What lasts longer becomes the new usual, so the length is a statement about faults: twice the longest that is
expected.

Everything is causal: a row depends on itself and the `length` - 1 rows before it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .features import runs
from .raw_rows import table
from .rolling import trailing_median

_CENTRAL = (1.0, 99.0)  # percentiles between which a channel usually lies
_FOREIGN = 1 / 3  # of the channels: fewer can be one fault, more is another machine

LONGEST = 20_000  # rows


def checked_length(rows: Any) -> int:
    """A preparation's `baseline` in rows, 0 for none; ValueError says what is wrong with it."""
    if type(rows) is not int or not (rows == 0 or 2 <= rows <= LONGEST):
        raise ValueError(f"baseline is {rows!r}: give 2 to {LONGEST} rows, or 0 for none")
    return rows


def reach(length: int) -> int:
    """How many rows before its own a row of `followed` depends on."""
    return (length | 1) - 1


def followed(rows: NDArray[np.float64], length: int, first: int = 0) -> NDArray[np.float64]:
    """`relative` for one stretch, (n - first, c), from the row `first` on, the same to the last bit wherever
    the rows begin, once there are `reach` of them before. An even length counts as one more, and of an even
    number of first rows the lower middle one is the median, so that it is always one of their values.

    >>> followed(np.array([[1.0], [1.0], [5.0], [1.0]]), 3).ravel().tolist()
    [0.0, 0.0, 4.0, 0.0]
    """
    lack = max(0, reach(length) - first)
    # As many values above all as below them, or one below more, leave the median of those that there are.
    ends = np.where(np.arange(lack)[::-1] % 2, np.inf, -np.inf)
    padded = np.concatenate([np.repeat(ends[:, None], rows.shape[1], axis=1), rows])
    return np.subtract(rows[first:], trailing_median(padded, length | 1, first + lack))


def relative(rows: NDArray[Any], length: int, segments: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """(n, c) rows less the median of the last `length` rows of their regime, the row itself among them.

    A regime's first rows are measured by the few that there are. Regimes begin as `regimes` says. Cost:
    O(n * c * log length).

    >>> relative(np.array([[1.0], [1.0], [5.0], [1.0]]), 3).ravel().tolist()
    [0.0, 0.0, 4.0, 0.0]
    """
    import pandas as pd

    values = table(rows)
    away = np.empty_like(values)
    starts = regimes(values, length, segments)
    for start, stop in zip(starts, [*starts[1:], len(values)], strict=True):
        usual = pd.DataFrame(values[start:stop]).rolling(length, min_periods=1).median()
        away[start:stop] = values[start:stop] - usual.to_numpy()
    return away


def regimes(rows: NDArray[Any], length: int, segments: NDArray[Any] | None = None) -> list[int]:
    """Where regimes begin among (n, c) rows: at the first, and after each gap (a new segment) whose first row
    finds more than a third of the channels outside of the central 98 % of their last `length` rows (the outer
    percent on either side is left to faults).

    A stop alone begins nothing: the machine that comes back as it was goes on. Nothing but a gap does
    either: without one, what jumped may be a fault, and only the drift test can tell.
    Raises ValueError for a length below 2.

    >>> regimes(np.array([[1.0], [2.0], [9.0], [2.0]]), 10, np.array([0, 0, 1, 2]))
    [0, 2, 3]
    """
    if length < 2:
        raise ValueError(f"length is {length}: a median needs at least 2 rows, and should have hundreds")
    starts: list[int] = []
    for one in runs(len(rows), segments):
        if not starts:
            starts.append(one.start)
            continue
        past = rows[max(starts[-1], one.start - length) : one.start]
        first = rows[one.start]
        low, high = np.percentile(past, _CENTRAL, axis=0)
        foreign = (first < low) | (first > high)
        if foreign.mean() > _FOREIGN:
            starts.append(one.start)
    return starts
