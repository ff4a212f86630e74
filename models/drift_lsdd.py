"""Least-squares density difference by alibi-detect (Bu, Alippi and Zhao, 2018, IEEE TNNLS 29(9)), with a
permutation test, behind the same wide kernel as MMD's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .drift_kernels import LEAST_MOVE, bandwidth, kernel_of, margin, permutations, rooted, with_spread
from .drift_rows import Rows

_CENTRES = 50
_SPLITS = 100
_MOST = 0.7  # of what two distributions with nothing in common are apart, as for MMD


@dataclass(frozen=True)
class Lsdd:
    """On scaled rows. The regularisation is settled once, on the reference, where alibi-detect's own detector
    chooses it anew for each window, and distances would not compare. `least` is how far one channel moves the
    distance that moves by itself."""

    p_value: float
    kernel: Any
    centres: Any
    inverse: Any
    nothing_in_common: float
    least: float
    corrected: str = "none"

    @classmethod
    def of(cls, known: Rows, p_value: float) -> Self:
        import torch
        from alibi_detect.utils.pytorch.distance import permed_lsdds

        rows = torch.from_numpy(with_spread(known))
        width = bandwidth(with_spread(known))
        kernel = kernel_of(width)
        order = torch.randperm(len(rows))
        count = min(_CENTRES, len(rows) // 3)
        # Rows that repeat would leave no inverse.
        centres = rows[order[:count]] + 1e-6 * torch.randn((count, rows.shape[1]))
        with torch.no_grad():
            near = kernel(rows[order[count:]], centres)
            parts = [torch.randperm(len(near)) for _ in range(_SPLITS)]
            half = len(near) // 2
            _, inverse = permed_lsdds(
                near,
                [one[:half] for one in parts],
                [one[half:] for one in parts],
                kernel_of(np.sqrt(2.0) * width)(centres, centres),
            )
            mean = near.mean(0)
            apart = float(np.sqrt(max(float(mean @ inverse @ mean), 0.0)))  # of rows that are near no centre
        whole = cls(p_value, kernel, centres, inverse, _MOST * apart, 0.0)
        moved = [known + LEAST_MOVE * unit for unit in np.eye(known.shape[1], dtype=np.float32)]
        return cls(
            p_value,
            kernel,
            centres,
            inverse,
            _MOST * apart,
            float(np.median([whole.distances(known, one)[0] for one in moved])),
        )

    def distances(self, reference: Rows, block: Rows) -> NDArray[np.float64]:
        """(1,): of all channels together."""
        return self._measured(reference, block, 1)[0]

    def measure(self, reference: Rows, rows: Rows) -> tuple[NDArray[np.float64], float]:
        """(1,) distance and its p-value."""
        return self._measured(reference, rows, permutations(self.p_value))

    def _measured(self, reference: Rows, rows: Rows, count: int) -> tuple[NDArray[np.float64], float]:
        import torch
        from alibi_detect.utils.pytorch.distance import permed_lsdds

        first = len(reference)
        with torch.no_grad():
            near = self.kernel(torch.from_numpy(with_spread(np.concatenate([reference, rows]))), self.centres)
            orders = [torch.randperm(len(near)) for _ in range(count)]
            permuted, _, apart = permed_lsdds(
                near,
                [one[:first] for one in orders],
                [one[first:] for one in orders],
                None,
                H_lam_inv=self.inverse,
                return_unpermed=True,
            )
        return rooted(np.array([float(apart)])), float((permuted >= apart).float().mean())

    def limits(self, own: NDArray[np.float64], trust: float) -> NDArray[np.float64]:
        return np.clip(margin(trust) * own, self.least, self.nothing_in_common)
