"""A test of all channels together, by alibi-detect: maximum mean discrepancy (Gretton et al., JMLR 2012),
with a permutation test.

The kernel is wide, because a narrow one saturates once the reference itself wanders a little. A wide kernel
compares means; the distance from the centre beside each value lets it see spread too.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .drift_rows import Rows

_BANDWIDTHS = 8.0  # times the median distance
LEAST_MOVE = 3.0  # units of scale, in one channel
_MOST = 1.0  # MMD: two distributions with nothing in common are 1.41 apart
_PERMUTATIONS = 500


def with_spread(scaled: Rows) -> Rows:
    return np.hstack([scaled, np.abs(scaled)])


def bandwidth(known: Rows) -> float:
    """For rows `with_spread`."""
    apart = ((known[::2, None] - known[None, 1::2]) ** 2).sum(-1)
    return _BANDWIDTHS * max(float(np.sqrt(np.median(apart) / 2)), 1e-3)


def kernel_of(width: float) -> Any:
    import torch
    from alibi_detect.utils.pytorch.kernels import GaussianRBF

    return GaussianRBF(torch.tensor([width]))


def rooted(squared: NDArray[np.float64]) -> NDArray[np.float64]:
    """An unbiased estimate of a squared distance may fall below 0."""
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)))


def margin(trust: float) -> float:
    """By which the largest distance of the reference's own blocks is multiplied: 5 where a few told it, 2
    where many did."""
    return 2.0 + 3.0 * (1 - trust)


def permutations(p_value: float) -> int:
    return min(max(100, ceil(1 / p_value)), _PERMUTATIONS)


@dataclass(frozen=True)
class Mmd:
    """On scaled rows. Distances and p-values are those of alibi-detect's MMDDrift with this kernel; the
    permutations are one product of matrices, where it gathers a matrix for each: a fortieth of the time."""

    width: float
    p_value: float
    kernel: Any
    nothing_in_common: float = _MOST
    corrected: str = "none"

    @classmethod
    def of(cls, known: Rows, p_value: float) -> Self:
        width = bandwidth(with_spread(known))
        return cls(width, p_value, kernel_of(width))

    def distances(self, reference: Rows, block: Rows) -> NDArray[np.float64]:
        """(1,): of all channels together."""
        return rooted(_squared(*self._laid_beside(reference, block)))

    def measure(self, reference: Rows, rows: Rows) -> tuple[NDArray[np.float64], float]:
        """(1,) distance and its p-value."""
        import torch

        similar, members = self._laid_beside(reference, rows)
        orders = torch.rand(len(similar), permutations(self.p_value)).argsort(dim=0).numpy()
        squared = _squared(similar, np.hstack([members, members[:, 0][orders]]))
        return rooted(squared[:1]), float((squared[1:] >= squared[0]).mean())

    def _laid_beside(self, reference: Rows, rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The (n + m, n + m) kernel matrix, 0 on its diagonal, and a column that is 1 for the m rows."""
        import torch

        both = torch.from_numpy(with_spread(np.concatenate([reference, rows])))
        with torch.no_grad():
            similar = self.kernel(both, both).numpy().astype(np.float64)
        np.fill_diagonal(similar, 0.0)
        return similar, np.repeat([[0.0], [1.0]], [len(reference), len(rows)], axis=0)

    def limits(self, own: NDArray[np.float64], trust: float) -> NDArray[np.float64]:
        return np.clip(margin(trust) * own, LEAST_MOVE / self.width, self.nothing_in_common)


def _squared(similar: NDArray[np.float64], members: NDArray[np.float64]) -> NDArray[np.float64]:
    """The unbiased estimate of MMD² (Gretton et al., equation 3) for each of the columns of `members`."""
    m = members[:, 0].sum()
    n = len(members) - m
    to_members = similar @ members
    within = (members * to_members).sum(axis=0)
    across = to_members.sum(axis=0) - within
    rest = similar.sum() - within - 2 * across
    return np.asarray(rest / (n * (n - 1)) + within / (m * (m - 1)) - 2 * across / (m * n))
