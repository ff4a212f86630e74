"""What is kept of old regimes, and what it is good for in a new one.

A detector of a new regime is fitted on few rows, and the few that calibrate its threshold follow at their
heels: they cannot tell how scores will rise over the next hour. An old regime can. The same fit on as few of
its rows is rehearsed at several places, and what the threshold lacked there over the rows that followed is
what it is lifted by here. Old rows so teach how far a machine wanders, without blurring where it is now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .algorithm import Scores
from .threshold import conformal_quantile

MOST_ROWS = 10_000
"""Of all stretches that are kept: at 8 channels 640 kB, a few hours at a row a second."""
REHEARSALS = 6
"""Each costs a fit; the median of six is not moved by one that met an unseen fault."""

Rows = NDArray[np.float64]
Rehearsal = Callable[[Rows, int], tuple[Scores, float]]
"""Fit on the first k of (n, c) rows; the scores of the n - k others, and the threshold."""


def kept(stretches: Sequence[Rows], new: Sequence[Rows], most: int = MOST_ROWS) -> tuple[Rows, ...]:
    """Old and new unbroken stretches of normal (n, c) rows that together hold at most `most` rows.

    The longest stay, for only a long one can be rehearsed on; of equals the newer, and the last one that fits
    is cut to its newest rows. They come in the order of their age, the oldest first.

    >>> [len(one) for one in kept([np.zeros((5, 1))], [np.zeros((2, 1)), np.zeros((6, 1))], most=9)]
    [3, 6]
    """
    every = [*stretches, *new]
    left, chosen = most, dict[int, Rows]()
    for place in sorted(range(len(every)), key=lambda one: (-len(every[one]), -one)):
        rows = min(left, len(every[place]))
        if rows:
            chosen[place] = every[place][-rows:]
            left -= rows
    return tuple(chosen[place] for place in sorted(chosen))


def unbroken(rows: NDArray[Any], usable: NDArray[np.bool_]) -> list[Rows]:
    """The stretches of (n, c) rows in which all are usable, (n,).

    >>> [len(one) for one in unbroken(np.zeros((6, 1)), np.array([1, 1, 0, 1, 0, 0], bool))]
    [2, 1]
    """
    edges = np.flatnonzero(np.diff(usable.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    return [np.asarray(rows[start:stop], np.float64) for start, stop in edges]


def rehearsed_lift(
    stretches: Sequence[Rows], rehearse: Rehearsal, rows: int, horizon: int, false_alarm_rate: float = 0.02
) -> float:
    """By how much a threshold that `rows` rows give is too low for the `horizon` rows after them: the median,
    over rehearsals spread evenly over old stretches of (n, c) rows, of the conformal quantile of later scores
    less the threshold. In units of the score; below 0 where it was too high, and 0 without a stretch that is
    long enough.

    Needs scores whose scale is the fit's own (in log units of the usual, in quantiles), or one regime's
    figure means nothing in another. Raises ValueError for a rate outside of (0, 1).
    """
    need = rows + horizon
    places = [(one, start) for one in stretches for start in range(0, len(one) - need + 1, max(rows // 2, 1))]
    if not places:
        return 0.0
    picks = np.unique(np.linspace(0, len(places) - 1, REHEARSALS).astype(np.int64))
    lacked = []
    for stretch, start in (places[pick] for pick in picks):
        later, threshold = rehearse(stretch[start : start + need], rows)
        lacked.append(conformal_quantile(later, false_alarm_rate) - threshold)
    return float(np.median(lacked))
