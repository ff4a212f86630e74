"""How deep in the tails of each training column a value lies: the scores of ECOD and COPOD, one at a time."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray


class EmpiricalTails:
    """ECOD (Li et al., TKDE 2022) or COPOD (Li et al., ICDM 2020), as PyOD scores a single row.

    PyOD joins the rows that it is asked about to the training rows and ranks all of them anew, so that a
    row's score depends on what else is asked and costs a sort of everything. Here each row is joined alone:
    ranks are looked up in sorted columns, and the skewness follows from sums of powers.

    Costs d binary searches per row; holds the (m, d) training values twice.

    >>> tails = EmpiricalTails("ECOD", np.arange(9.0)[:, None])
    >>> tails.parts(np.array([[4.0], [20.0]])).round(2).tolist()
    [[1.02], [2.3]]
    """

    def __init__(self, method: Literal["ECOD", "COPOD"], values: NDArray[np.float64]) -> None:
        self._method = method
        self._columns = np.ascontiguousarray(np.sort(values, axis=0).T)
        self._center = values.mean(axis=0)
        away = values - self._center
        self._first, self._second = away.sum(axis=0), (away * away).sum(axis=0)
        self._third = (away * away * away).sum(axis=0)

    def parts(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, d) terms that add up to the scores of (n, d) rows."""
        count = self._columns.shape[1] + 1
        below, above = np.empty(values.shape), np.empty(values.shape)
        for place, column in enumerate(self._columns):
            below[:, place] = 1 + np.searchsorted(column, values[:, place], side="right")
            above[:, place] = count - np.searchsorted(column, values[:, place], side="left")
        left, right = -np.log(below / count), -np.log(above / count)
        skewed = self._skewed(values - self._center, count)
        # A right tail for a column skewed to the right, a left one to the left, both for none.
        tail = np.where(skewed < 1, left, 0.0) + np.where(skewed > -1, right, 0.0)
        both = np.maximum(left, right) if self._method == "ECOD" else (left + right) / 2
        return np.asarray(np.maximum(tail, both))

    def _skewed(self, away: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        """(n, d) signs of the columns' skewness with one more value each, given as deviations."""
        mean = (self._first + away) / count
        square = (self._second + away * away) / count
        third = (self._third + away * away * away) / count - mean * (3 * square - 2 * mean * mean)
        return np.asarray(np.sign(np.where(square > mean * mean, third, 0.0)))
