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


def root(squared: float) -> float:
    return float(np.sqrt(max(squared, 0.0)))  # an unbiased estimate of a squared distance may fall below 0


def margin(trust: float) -> float:
    """By which the largest distance of the reference's own blocks is multiplied: 5 where a few told it, 2
    where many did."""
    return 2.0 + 3.0 * (1 - trust)


def permutations(p_value: float) -> int:
    return min(max(100, ceil(1 / p_value)), _PERMUTATIONS)


@dataclass
class Mmd:
    """On scaled rows."""

    width: float
    p_value: float
    kernel: Any
    nothing_in_common: float = _MOST
    corrected: str = "none"

    def __post_init__(self) -> None:
        self._known: tuple[Rows, Any] | None = None

    @classmethod
    def of(cls, known: Rows, p_value: float) -> Self:
        width = bandwidth(with_spread(known))
        return cls(width, p_value, kernel_of(width))

    def distance(self, reference: Rows, block: Rows) -> float:
        import torch
        from alibi_detect.utils.pytorch.distance import mmd2_from_kernel_matrix

        both = torch.from_numpy(with_spread(np.concatenate([reference, block])))
        with torch.no_grad():
            return root(float(mmd2_from_kernel_matrix(self.kernel(both, both), len(block))))

    def measure(self, reference: Rows, rows: Rows) -> tuple[float, float]:
        """Distance and p-value."""
        import torch

        with torch.no_grad():
            data = self._detector(reference).predict(with_spread(rows))["data"]
        return root(float(data["distance"])), float(data["p_val"])

    def _detector(self, reference: Rows) -> Any:
        """alibi-detect's, which knows its reference's kernel matrix: the same one for the same reference."""
        from alibi_detect.cd import MMDDrift

        if self._known is None or not np.array_equal(self._known[0], reference):
            detector = MMDDrift(
                with_spread(reference),
                backend="pytorch",
                p_val=self.p_value,
                sigma=np.array([self.width], np.float32),
                configure_kernel_from_x_ref=False,
                n_permutations=permutations(self.p_value),
                device="cpu",
            )
            self._known = (reference, detector)
        return self._known[1]

    def limit(self, own: list[float], trust: float) -> float:
        least = LEAST_MOVE / self.width
        return min(max(margin(trust) * max(own, default=0.0), least), self.nothing_in_common)
