"""One-class SVM over windows: solved by scikit-learn, scored with numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .algorithm import Float32Array, Scores, positive, whole
from .batches import batches, drawn, flat
from .contributions import occluded
from .restoring import number_of, shape_of, taken

_MOST_CELLS = 20_000_000  # of all windows fitted at once; 160 MB
_MOST_APPROXIMATED = 30_000  # windows that stochastic descent looks at
_EPOCHS = 20


@dataclass
class OneClassSVM:
    """One-class support vector machine (Schölkopf et al., Neural Computation 2001): a boundary that holds
    all but a share `nu` of the fitted windows, in the space of a Gaussian kernel.

    Up to `exact` windows the problem is solved exactly. Beyond, it is solved by stochastic gradient descent
    on `landmarks` Nyström features (Williams and Seeger, NIPS 2000), in time linear in the windows. Either
    way the result is a weighted sum of kernels around stored windows, less an offset.

    Range: the distance outside of the boundary, negative inside, 0 on it, and at most the offset, which
    every window reaches that is unlike all that was fitted. Cost: a window takes one kernel, w * c
    multiplications, per support vector (about nu times the windows) or landmark, no scikit-learn. Fitting
    exactly 5,000 windows of 480 values takes about 2 s.

    Parameters: `nu` (above 0, to 0.99), `gamma` (the kernel's width, as a multiple of scikit-learn's "scale":
    1 / (values * their variance)), `exact` (windows, 1 to 20,000), `landmarks` (2 to 2,000).

    >>> rows = np.random.default_rng(0).normal(size=(500, 5, 2)).astype(np.float32)
    >>> machine = OneClassSVM(seed=0)
    >>> machine.fit(rows)
    >>> bool(machine.score(rows + 8).min() > machine.score(rows).mean())
    True
    """

    name: ClassVar[str] = "one-class-svm"

    nu: float = 0.05
    gamma: float = 1.0
    exact: int = 5000
    landmarks: int = 300
    seed: int = 0
    _shape: tuple[int, int] = field(default=(0, 0), init=False, repr=False)
    _width: float = field(default=1.0, init=False, repr=False)
    _offset: float = field(default=0.0, init=False, repr=False)
    _arrays: dict[str, NDArray[Any]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.nu = positive("nu", self.nu, 0.99)
        self.gamma = positive("gamma", self.gamma, 1e6)
        self.exact = whole("exact", self.exact, 1, 20_000)
        self.landmarks = whole("landmarks", self.landmarks, 2, 2_000)

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    def fit(self, windows: Float32Array) -> None:
        n, w, c = windows.shape
        most = max(1, min(_MOST_CELLS // (w * c), max(self.exact, _MOST_APPROXIMATED)))
        values = flat(windows[drawn(n, most, self.seed)])
        self._shape = (w, c)
        self._width = self.gamma / (w * c * (float(values.var()) or 1.0))
        vectors, weights, self._offset = (
            self._solve(values) if len(values) <= self.exact else self._approximate(values)
        )
        self._arrays = {"vectors": vectors.astype(np.float64), "weights": weights}

    def _solve(self, values: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any], float]:
        from sklearn.svm import OneClassSVM as Solved

        solved = Solved(nu=self.nu, gamma=self._width, cache_size=500)
        solved.random_state = self.seed  # not a parameter, but drawn from: else from numpy's global state
        solved.fit(values)
        return solved.support_vectors_, solved.dual_coef_[0], float(solved.offset_[0])

    def _approximate(self, values: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any], float]:
        from sklearn.kernel_approximation import Nystroem
        from sklearn.linear_model import SGDOneClassSVM

        components = min(self.landmarks, len(values))
        kernels = Nystroem(gamma=self._width, n_components=components, random_state=self.seed)
        features = kernels.fit_transform(values)
        linear = SGDOneClassSVM(nu=self.nu, max_iter=_EPOCHS, tol=None, random_state=self.seed)
        linear.fit(features)
        # The features are themselves kernels around the landmarks times a matrix, so both factors merge.
        weights = kernels.normalization_.T @ linear.coef_
        return kernels.components_, weights, float(linear.offset_[0])

    def score(self, windows: Float32Array) -> Scores:
        vectors = self._arrays["vectors"]
        squares = np.einsum("vd,vd->v", vectors, vectors)
        scores = np.empty(len(windows))
        for place, part in batches(windows, beside=2 * len(vectors)):
            values = flat(part)
            far = values @ (-2.0 * vectors.T)
            far += squares
            far += np.einsum("nd,nd->n", values, values)[:, None]
            scores[place] = (
                self._offset - np.exp(-self._width * np.maximum(far, 0.0)) @ self._arrays["weights"]
            )
        return scores

    def contributions(self, windows: Float32Array) -> Scores:
        return occluded(self.score, windows)

    def settings(self) -> dict[str, Any]:
        return {
            "nu": self.nu,
            "gamma": self.gamma,
            "exact": self.exact,
            "landmarks": self.landmarks,
            "seed": self.seed,
            "shape": list(self._shape),
            "width": self._width,
            "offset": self._offset,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        return dict(self._arrays)

    @classmethod
    def restore(cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        rest = dict(settings)
        shape = shape_of(cls.name, rest.pop("shape"))
        width = number_of(cls.name, "width", rest.pop("width"), 0.0, 1e300)
        offset = number_of(cls.name, "offset", rest.pop("offset"), -1e300, 1e300)
        machine = cls(**rest)
        machine._shape, machine._width, machine._offset = shape, width, offset
        count = len(arrays["weights"]) if "weights" in arrays else None
        machine._arrays = taken(
            cls.name,
            arrays,
            {"weights": (np.float64, (count,)), "vectors": (np.float64, (count, shape[0] * shape[1]))},
        )
        return machine
