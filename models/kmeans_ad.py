"""k-means over windows: clustered by scikit-learn, scored with numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .algorithm import Float32Array, Scores, whole
from .batches import batches, drawn, flat
from .contributions import shares
from .restoring import shape_of, taken

_MOST_CELLS = 20_000_000  # of all windows fitted at once; 160 MB
_STARTS = 3


@dataclass
class KMeansAD:
    """Distance to the nearest of the windows' cluster centres (Yairi, Kato and Hori, i-SAIRAS 2001; KMeansAD
    in TSB-AD): what a machine does now is like something that it used to do.

    Range: 0 upwards, the root of the mean squared difference per cell, in scaled units; about 1 for noise
    without a pattern. Cost: fitting is scikit-learn's, O(clusters * windows * w * c) a round; a window takes
    clusters * w * c multiplications, and no scikit-learn.

    Parameters: `clusters` (1 to 1,000; fewer when there are fewer different windows).

    >>> rows = np.random.default_rng(0).normal(size=(500, 5, 2)).astype(np.float32)
    >>> means = KMeansAD(seed=0)
    >>> means.fit(rows)
    >>> bool(means.score(rows + 8).min() > means.score(rows).mean())
    True
    """

    name: ClassVar[str] = "kmeans-ad"

    clusters: int = 20
    seed: int = 0
    _shape: tuple[int, int] = field(default=(0, 0), init=False, repr=False)
    _centroids: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)), init=False, repr=False)

    def __post_init__(self) -> None:
        self.clusters = whole("clusters", self.clusters, 1, 1_000)

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    def fit(self, windows: Float32Array) -> None:
        from sklearn.cluster import KMeans
        from threadpoolctl import threadpool_limits

        n, w, c = windows.shape
        values = flat(windows[drawn(n, max(1, _MOST_CELLS // (w * c)), self.seed)])
        clusters = min(self.clusters, len(np.unique(values, axis=0)))
        with threadpool_limits(1, user_api="openmp"):  # threads add up in any order, so to other last bits
            means = KMeans(clusters, n_init=_STARTS, random_state=self.seed).fit(values)
        self._shape = (w, c)
        self._centroids = means.cluster_centers_

    def score(self, windows: Float32Array) -> Scores:
        scores = np.empty(len(windows))
        for place, missed in self._missed(windows):
            scores[place] = np.sqrt(missed.mean(axis=1))
        return scores

    def contributions(self, windows: Float32Array) -> Scores:
        parts = np.empty((len(windows), windows.shape[2]))
        for place, missed in self._missed(windows):
            parts[place] = missed
        return shares(parts)

    def _missed(self, windows: Float32Array) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Pieces of (m, c) squared differences to the nearest centre, averaged over the window's rows."""
        squares = np.einsum("kd,kd->k", self._centroids, self._centroids)
        for place, part in batches(windows, beside=windows.shape[1] * windows.shape[2] + len(squares)):
            values = flat(part)
            nearest = (squares - 2.0 * (values @ self._centroids.T)).argmin(axis=1)
            # The difference itself, for a difference of squares would lose the digits of a small one.
            values -= self._centroids[nearest]
            yield place, np.square(values).reshape(part.shape).mean(axis=1)

    def settings(self) -> dict[str, Any]:
        return {"clusters": self.clusters, "seed": self.seed, "shape": list(self._shape)}

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"centroids": self._centroids}

    @classmethod
    def restore(cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        rest = dict(settings)
        w, c = shape_of(cls.name, rest.pop("shape"))
        means = cls(**rest)
        means._shape = (w, c)
        means._centroids = taken(cls.name, arrays, {"centroids": (np.float64, (None, w * c))})["centroids"]
        return means
