"""Mahalanobis distance of windows: how far one lies from the usual, measured in what is usual for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .algorithm import Float32Array, Scores
from .batches import batches, thinned, thinned_and_drawn
from .contributions import occluded
from .restoring import shape_of, taken

_MOST_VALUES = 300  # of a window; the rows of a longer one are thinned out, for the precision is their square
_FARTHEST = 1e3  # robust standard deviations: beyond, a value is far, however far
_LEAST_SHRINKAGE = 1e-3  # of the covariance towards a sphere, so that constant channels leave an inverse


@dataclass
class Mahalanobis:
    """Squared Mahalanobis distance of a window from the mean window (Hotelling's T² over all components),
    with the covariance of windows shrunk towards a sphere (Ledoit and Wolf, J. Multivariate Analysis 2004),
    which is what lets a few hundred windows say something about as many values.

    It needs little to begin with, and takes the scaler's word for what a channel's unit is: `tests/bench`'s
    `recovery` fits it on the first 300 rows of a rebuilt rig.

    Range: 0 upwards, log(1 + distance / values), about 0.7 for a usual window. Cost: fitting is
    O(windows * (w * c)²), a window takes (w * c)² multiplications; one of more than 300 values is thinned to
    fewer of its rows. Deterministic; `seed` draws windows where they are many.

    >>> rows = np.random.default_rng(0).normal(size=(500, 5, 2)).astype(np.float32)
    >>> distance = Mahalanobis(seed=0)
    >>> distance.fit(rows)
    >>> bool(distance.score(rows + 8).min() > distance.score(rows).max())
    True
    """

    name: ClassVar[str] = "mahalanobis"

    seed: int = 0
    _shape: tuple[int, int] = field(default=(0, 0), init=False, repr=False)
    _learned: dict[str, NDArray[np.float64]] = field(default_factory=dict, init=False, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    def fit(self, windows: Float32Array) -> None:
        from sklearn.covariance import ledoit_wolf

        self._shape = windows.shape[1], windows.shape[2]
        values = _flat(thinned_and_drawn(windows, _MOST_VALUES, self.seed))
        mean = values.mean(axis=0)
        covariance, _ = ledoit_wolf(values - mean, assume_centered=True)
        size = len(mean)
        sphere = max(float(np.trace(covariance)) / size, _LEAST_SHRINKAGE)
        covariance = (1 - _LEAST_SHRINKAGE) * covariance + _LEAST_SHRINKAGE * sphere * np.eye(size)
        # A triangular root of the precision: a sum of squares is never negative, whatever the rounding.
        self._learned = {"mean": mean, "whitening": np.linalg.inv(np.linalg.cholesky(covariance)).T.copy()}

    def _pieces(self, windows: Float32Array) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        rows = thinned(*self._shape, _MOST_VALUES)
        for place, part in batches(windows, beside=2 * len(rows) * self._shape[1]):
            yield place, _flat(part[:, rows])

    def score(self, windows: Float32Array) -> Scores:
        if windows.shape[1:] != self._shape:
            raise ValueError(f"windows of {windows.shape[1:]} (rows, channels), fitted on {self._shape}")
        scores = np.empty(len(windows))
        for place, values in self._pieces(windows):
            white = (values - self._learned["mean"]) @ self._learned["whitening"]
            scores[place] = np.log1p(np.square(white).mean(axis=1))
        return scores

    def contributions(self, windows: Float32Array) -> Scores:
        return occluded(self.score, windows)

    def settings(self) -> dict[str, Any]:
        return {"seed": self.seed, "shape": list(self._shape)}

    def arrays(self) -> dict[str, NDArray[Any]]:
        return dict(self._learned)

    @classmethod
    def restore(cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        rest = dict(settings)
        w, c = shape_of(cls.name, rest.pop("shape"))
        one = cls(**rest)
        one._shape = (w, c)
        size = len(thinned(w, c, _MOST_VALUES)) * c
        one._learned = taken(
            cls.name, arrays, {"mean": (np.float64, (size,)), "whitening": (np.float64, (size, size))}
        )
        return one


def _flat(windows: Float32Array) -> NDArray[np.float64]:
    return np.clip(windows.astype(np.float64), -_FARTHEST, _FARTHEST).reshape(len(windows), -1)
