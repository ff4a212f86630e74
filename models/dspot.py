"""DSPOT (Siffer et al., KDD 2017): a threshold from extreme-value theory for scores whose level drifts."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .spot import TAIL, Spot, finite


@dataclass
class Dspot:
    """SPOT on what scores deviate from their own recent mean, for normal scores that drift slowly.

    `recent` holds the last `depth` scores that were not beyond the limit, `spot` judges deviations from their
    mean. A jump that stays is an alarm for as long as it stays: to forgive it is a matter of retraining.
    """

    spot: Spot
    recent: deque[float] = field(repr=False)
    total: float

    @classmethod
    def start(
        cls, scores: NDArray[Any], false_alarm_rate: float, depth: int = 50, tail: float = TAIL
    ) -> Self:
        """Calibrated on (n,) scores of normal rows, n above `depth`. ValueError as `Spot.start`."""
        values = finite(scores)
        if not 1 <= depth < len(values):
            raise ValueError(
                f"depth is {depth}: give 1 to {len(values) - 1} rows, fewer than there are scores"
            )
        sums = np.cumsum(np.concatenate([[0.0], values]))
        deviations = values[depth:] - (sums[depth:-1] - sums[: -depth - 1]) / depth
        recent = deque(values[-depth:].tolist(), maxlen=depth)
        return cls(Spot.start(deviations, false_alarm_rate, tail), recent, math.fsum(recent))

    @property
    def threshold(self) -> float:
        """The score above which the next row is an alarm."""
        return self.spot.threshold + self.total / len(self.recent)

    def update(self, scores: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of the next (n,) scores, in the order of time, are alarms. About a microsecond a score."""
        return np.array([self._take(score) for score in finite(scores).tolist()], np.bool_)

    def _take(self, score: float) -> bool:
        deviation = score - self.total / len(self.recent)
        beyond = deviation > self.spot.limit
        alarm = self.spot.take(deviation)
        if beyond:
            return alarm
        self.total += score - self.recent[0]
        self.recent.append(score)
        if self.spot.seen % len(self.recent) == 0:  # rounding must not add up over months
            self.total = math.fsum(self.recent)
        return alarm

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The state; `restore(arrays())` goes on alike to the last bit."""
        return {
            **self.spot.arrays(),
            "recent": np.array(self.recent, np.float64),
            "total": np.array([self.total]),
        }

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The stream again. Raises ValueError when the arrays are not those of one."""
        recent, total = finite(arrays["recent"]), finite(arrays["total"])
        if not len(recent) or total.shape != (1,):
            raise ValueError(f"recent {recent.shape} and total {total.shape} are no state of a stream")
        kept = deque(recent.tolist(), maxlen=len(recent))
        return cls(Spot.restore(arrays), kept, float(total[0]))
