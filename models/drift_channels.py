"""Tests of one channel at a time, by alibi-detect: Kolmogorov-Smirnov, Cramér-von Mises (Anderson, 1962),
chi-square, and Fisher's exact test of whether errors became more.

Their statistics become distances that do not grow with the number of rows, so that a threshold on them means
the same for any window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .choices import CorrectionKind
from .drift_rows import Rows

MOST_VALUES = 20
"""A channel with more distinct values than that is no category."""

Distances = NDArray[np.float64]

_LEAST = 0.1
# A move by four and by five tenths of a deviation: what a few faults among the rows do is less.
_LEAST_CVM, _LEAST_MEAN_CVM = 0.2, 0.26
_LEAST_ERRORS = 0.05


def ks(known: Rows, p_value: float) -> Any:
    from alibi_detect.cd import KSDrift

    return KSDrift(known, p_val=p_value)


def cvm(known: Rows, p_value: float) -> Any:
    from alibi_detect.cd import CVMDrift

    return CVMDrift(known, p_val=p_value)


def chi2(known: Rows, p_value: float) -> Any:
    from alibi_detect.cd import ChiSquareDrift

    return ChiSquareDrift(known, p_val=p_value)


def fisher(known: Rows, p_value: float) -> Any:
    from alibi_detect.cd import FETDrift

    return FETDrift(known.astype(np.int64), p_val=p_value, alternative="greater")


def _as_it_is(statistics: NDArray[Any], reference: Rows, rows: Rows) -> NDArray[Any]:
    return statistics


def _cvm_distance(statistics: NDArray[Any], reference: Rows, rows: Rows) -> NDArray[Any]:
    """The root mean square between the distribution functions: 1 where the samples have nothing in common."""
    n, m = len(reference), len(rows)
    squared: NDArray[np.float64] = np.clip(3 * (statistics - 1 / 6) * (n + m) / (n * m), 0, 1)
    return np.sqrt(squared)


def _chi2_distance(statistics: NDArray[Any], reference: Rows, rows: Rows) -> NDArray[Any]:
    """Cramér's V of values by sample: 0 to 1."""
    return np.asarray(np.sqrt(statistics / (len(reference) + len(rows))))


def _more_errors(statistics: NDArray[Any], reference: Rows, rows: Rows) -> NDArray[Any]:
    return np.asarray(rows.mean(axis=0) - reference.mean(axis=0))


@dataclass(frozen=True)
class Kind:
    make: Callable[[Rows, float], Any]
    distance: Callable[[NDArray[Any], Rows, Rows], NDArray[Any]]
    margin: float
    least: float  # of a channel's limit
    least_mean: float  # of the mean's, or of a channel's that is alone


KINDS: Mapping[str, Kind] = {
    "ks": Kind(ks, _as_it_is, 1.5, _LEAST, _LEAST),
    "cvm": Kind(cvm, _cvm_distance, 1.5, _LEAST_CVM, _LEAST_MEAN_CVM),
    "chi2": Kind(chi2, _chi2_distance, 1.5, _LEAST, _LEAST),
    "fisher": Kind(fisher, _more_errors, 1.25, _LEAST_ERRORS, _LEAST_ERRORS),
}
NOTHING_IN_COMMON = 0.75  # midway from half of the range to all of it


@dataclass(frozen=True)
class ChannelTest:
    """On scaled rows, of which `columns` take part."""

    kind: Kind
    detector: Any
    columns: NDArray[np.int64]
    correction: CorrectionKind
    nothing_in_common: float = NOTHING_IN_COMMON

    @classmethod
    def of(cls, name: str, known: Rows, p_value: float, correction: CorrectionKind) -> Self:
        """Raises ValueError for chi-square where no channel is a category."""
        columns = np.arange(known.shape[1])
        if name == "chi2":
            columns = np.array([j for j in columns if len(np.unique(known[:, j])) <= MOST_VALUES], np.int64)
            if not len(columns):
                raise ValueError(
                    f"test is 'chi2', but every channel has more than {MOST_VALUES} values: choose ks or cvm"
                )
        kind = KINDS[name]
        return cls(kind, kind.make(known[:, columns], p_value), columns, correction)

    @property
    def corrected(self) -> str:
        return self.correction if len(self.columns) > 1 else "none"

    def distances(self, reference: Rows, block: Rows) -> Distances:
        """(k,) of the k columns."""
        return self.measure(reference, block)[0]

    def measure(self, reference: Rows, rows: Rows) -> tuple[Distances, float]:
        """(k,) distances and the corrected p-value of all."""
        one, other = reference[:, self.columns], rows[:, self.columns]
        p_values, statistics = self.detector.feature_score(one, other)
        found = self.kind.distance(np.asarray(statistics, np.float64), one, other)
        return found, corrected(np.asarray(p_values, np.float64), self.correction)

    def limits(self, own: Distances, trust: float) -> Distances:
        """(k,) from the (k,) largest distances of the reference's own blocks: what they are multiplied by
        falls by one where many blocks told them. Halfway to 1 at most, as distances end there."""
        margin = self.kind.margin + 1.0 * (1 - trust)
        least = np.append(np.full(len(own) - 1, self.kind.least), self.kind.least_mean)
        return np.asarray(np.maximum(np.minimum(margin * own, (1 + own) / 2), least))


def corrected(p_values: NDArray[np.float64], correction: CorrectionKind) -> float:
    """The least p-value of c channels, as it counts among c: below p exactly where alibi-detect calls drift
    with that correction (Bonferroni, or Benjamini and Hochberg's false discovery rate)."""
    count = len(p_values)
    rank = np.ones(count) if correction == "bonferroni" else np.arange(1, count + 1)
    return float(min(1.0, (np.sort(p_values) * count / rank).min()))
