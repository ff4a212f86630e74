"""Principal components of windows: what moves together stays together, until something breaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .algorithm import Float32Array, Scores, positive
from .batches import batches, thinned, thinned_and_drawn
from .contributions import occluded, shares
from .restoring import number_of, shape_of, taken

STATISTICS = ("q", "t2", "both")
_MOST_VALUES = 1_500  # of a window; the rows of a longer one are thinned out
_FARTHEST = 50.0  # standard deviations: beyond, a value is far, however far
_LEAST = 1e-6  # of a cell's variance: what is left of less is rounding


@dataclass
class SubPCA:
    """Principal component analysis of subsequences (Shyu et al., 2003, on windows as in TSB-AD's Sub-PCA; the
    Q and T² statistics of process monitoring, Jackson and Mudholkar, Technometrics 1979).

    Channels are brought to one standard deviation; the components that hold `variance` of the windows'
    variance are the normal subspace. `q` is what of a window lies outside of it, `t2` how far it lies along
    it, `both` the mean of the two. Either is measured in its own median over the fitted windows.

    Range: 0 upwards, log(1 + statistic / median), about 0.7 for a usual window. Cost: fitting is an
    eigendecomposition of (w * c)² values; a window takes w * c * components multiplications. A window of
    more than 1,500 values is thinned to fewer of its rows. Deterministic; `seed` draws windows where there
    are many.

    Parameters: `variance` (0 to 1), `statistic` ("q", "t2" or "both").

    What lies along the components, `q` does not see, and in noise without structure that is nearly all.

    >>> swing = np.sin(np.arange(500) / 5)[:, None, None] * np.ones((1, 5, 2), np.float32)
    >>> rows = (swing + np.random.default_rng(0).normal(0, 0.1, (500, 5, 2))).astype(np.float32)
    >>> components = SubPCA(seed=0)
    >>> components.fit(rows)
    >>> against = rows + np.array([2, -2], np.float32)  # the channels part
    >>> bool(components.score(against).min() > components.score(rows).max())
    True
    """

    name: ClassVar[str] = "sub-pca"

    variance: float = 0.9
    statistic: str = "q"
    seed: int = 0
    _shape: tuple[int, int] = field(default=(0, 0), init=False, repr=False)
    _usual: dict[str, float] = field(default_factory=lambda: {"q": 1.0, "t2": 1.0}, init=False, repr=False)
    _learned: dict[str, NDArray[np.float64]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.variance = positive("variance", self.variance, 1.0)
        if self.statistic not in STATISTICS:
            raise ValueError(f"statistic is {self.statistic!r}: choose one of {', '.join(STATISTICS)}")

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    def fit(self, windows: Float32Array) -> None:
        self._shape = windows.shape[1], windows.shape[2]
        values = thinned_and_drawn(windows, _MOST_VALUES, self.seed).astype(np.float64)
        spread = values.std(axis=(0, 1))
        scale = np.where(spread > 0, spread, 1.0)
        self._learned = {"center": values.mean(axis=(0, 1)), "scale": scale}
        standard = self._standard(values)
        mean = standard.mean(axis=0)
        variances, components = _principal(standard - mean)
        kept = _kept(variances, self.variance)
        self._learned |= {
            "mean": mean,
            "components": components[:kept],
            "variances": np.maximum(variances[:kept], _LEAST),
        }
        q, t2 = self._statistics(standard)
        self._usual = {
            "q": max(float(np.median(q)), _LEAST * len(mean)),
            "t2": max(float(np.median(t2)), _LEAST),
        }

    def _standard(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, t, c) rows of windows as (n, t * c) values in standard deviations."""
        standard = (values - self._learned["center"]) / self._learned["scale"]
        return np.clip(standard, -_FARTHEST, _FARTHEST).reshape(len(values), -1)

    def _statistics(self, standard: NDArray[np.float64]) -> tuple[Scores, Scores]:
        """(n,) Q and T² of (n, t * c) standard values."""
        away = standard - self._learned["mean"]
        along = away @ self._learned["components"].T
        t2 = (along * along / self._learned["variances"]).sum(axis=1)
        return (self._residual(away, along) ** 2).sum(axis=1), t2

    def _residual(self, away: NDArray[np.float64], along: NDArray[np.float64]) -> NDArray[np.float64]:
        # The difference itself, for a difference of squares would lose the digits of a small one.
        return np.asarray(away - along @ self._learned["components"])

    def _pieces(self, windows: Float32Array) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        rows = thinned(*self._shape, _MOST_VALUES)
        for place, part in batches(windows, beside=2 * len(rows) * self._shape[1]):
            yield place, self._standard(part[:, rows].astype(np.float64))

    def score(self, windows: Float32Array) -> Scores:
        if windows.shape[1:] != self._shape:
            raise ValueError(f"windows of {windows.shape[1:]} (rows, channels), fitted on {self._shape}")
        scores = np.empty(len(windows))
        for place, standard in self._pieces(windows):
            q, t2 = (
                np.log1p(one / self._usual[kind])
                for kind, one in zip(("q", "t2"), self._statistics(standard), strict=True)
            )
            scores[place] = {"q": q, "t2": t2, "both": (q + t2) / 2}[self.statistic]
        return scores

    def contributions(self, windows: Float32Array) -> Scores:
        """Exact for `q`, a sum over cells; by occlusion for the others."""
        if self.statistic != "q":
            return occluded(self.score, windows)
        parts = np.empty((len(windows), self._shape[1]))
        for place, standard in self._pieces(windows):
            away = standard - self._learned["mean"]
            missed = self._residual(away, away @ self._learned["components"].T) ** 2
            parts[place] = missed.reshape(len(away), -1, self._shape[1]).sum(axis=1)
        return shares(parts)

    def settings(self) -> dict[str, Any]:
        return {
            "variance": self.variance,
            "statistic": self.statistic,
            "seed": self.seed,
            "shape": list(self._shape),
            "usual": dict(self._usual),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        return dict(self._learned)

    @classmethod
    def restore(cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        rest = dict(settings)
        w, c = shape_of(cls.name, rest.pop("shape"))
        usual = rest.pop("usual")
        if not isinstance(usual, dict) or set(usual) != {"q", "t2"}:
            raise ValueError(f"{cls.name}: usual is {usual!r}: it must hold q and t2")
        one = cls(**rest)
        one._shape = (w, c)
        one._usual = {key: number_of(cls.name, f"usual.{key}", usual[key], 1e-12, 1e12) for key in usual}
        size = len(thinned(w, c, _MOST_VALUES)) * c
        kept = len(arrays["components"]) if "components" in arrays and arrays["components"].ndim else None
        one._learned = taken(
            cls.name,
            arrays,
            {
                "center": (np.float64, (c,)),
                "scale": (np.float64, (c,)),
                "mean": (np.float64, (size,)),
                "components": (np.float64, (kept, size)),
                "variances": (np.float64, (kept,)),
            },
        )
        for key in ("scale", "variances"):
            if not (one._learned[key] > 0).all():
                raise ValueError(f"{cls.name}: the array {key} must be above 0")
        return one


def _principal(away: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Falling variances (k,) and their directions (k, d) of centred (n, d) values."""
    n, d = away.shape
    if n < d:
        _, sizes, directions = np.linalg.svd(away, full_matrices=False)
        return sizes**2 / n, directions
    variances, directions = np.linalg.eigh(away.T @ away / n)
    return np.maximum(variances[::-1], 0.0), np.ascontiguousarray(directions[:, ::-1].T)


def _kept(variances: NDArray[np.float64], share: float) -> int:
    """How many components hold the share: at least one, and in one dimension none is left over, so that the
    statistics must do with the mean alone."""
    total = float(variances.sum())
    enough = int(np.searchsorted(np.cumsum(variances), share * total * (1 - 1e-12))) + 1 if total else 1
    return max(1, min(enough, len(variances) - 1))
