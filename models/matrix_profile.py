"""Matrix profile: how far each channel's window is from the most similar one in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .algorithm import Float32Array, Scores, positive, whole
from .batches import batches, drawn
from .contributions import shares
from .restoring import shape_of, taken

_MOST_CELLS = 16_000_000  # of all stored subsequences; 64 MB
_LEAST_SHAPE = 4  # rows; of fewer, dividing by their own spread leaves nothing but signs
_FLAT = 0.1  # of a channel's usual spread within a window: one that varies less is as good as flat
_SELDOM = 0.9  # quantile of a channel's distances in training that its distances are measured in
_LEAST_USUAL = 0.05
_LEAST = 1e-6  # a deviation below this is none, in scaled units
_FARTHEST = 1e13  # a coordinate: scaled values end at 1e6, and are divided by no less than _LEAST


@dataclass
class MatrixProfile:
    """Matrix profile of the scored series against the fitted one (Yeh et al., ICDM 2016; the AB-join): each
    channel by itself, the distance of its window to the nearest of those seen in training, once both are
    shifted to mean 0 and scaled to deviation 1.

    That scaling makes a shape comparable at any level and width, and blind to a change of either. So level
    and width come back as two more coordinates, in units of the channel's spread and of factors of e, times
    `level`; with that next to 0 the distance is stumpy's divided by sqrt(2w), by which two unrelated windows
    are about 1 apart. Only what is wider than usual counts as a width, for a row without a past makes a flat
    window; and a flat one (a tenth of the usual deviation or less) is not blown up to deviation 1. Windows
    of fewer than 4 rows are compared by value.

    A channel's distance is measured in what it seldom exceeded (0.9 quantile) between training windows that
    do not overlap; the score is the mean over channels of log(1 + its square), so that neither noisy
    channels nor a single one far out drown the rest.

    Range: 0 upwards, about 0.7 and below for a window like the rest. Cost: a window takes
    stored * c * (w + 2) multiplications, 0.1 ms for 60 rows of 8 channels. At most `stored` training windows
    are kept, fewer when they are large, drawn by seed. stumpy joins whole series and compiles for seconds in
    every process; it is what the tests compare with.

    Parameters: `stored` (2 to 100,000), `level` (above 0, to 100).

    >>> rows = np.random.default_rng(0).normal(size=(500, 5, 2)).astype(np.float32)
    >>> profile = MatrixProfile(seed=0)
    >>> profile.fit(rows)
    >>> bool(profile.score(rows + 8).min() > profile.score(rows).mean())
    True
    """

    name: ClassVar[str] = "matrix-profile"

    stored: int = 2000
    level: float = 1.0
    seed: int = 0
    _shape: tuple[int, int] = field(default=(0, 0), init=False, repr=False)
    _arrays: dict[str, NDArray[Any]] = field(default_factory=dict, init=False, repr=False)
    _squares: NDArray[np.float32] = field(
        default_factory=lambda: np.zeros((0, 0), np.float32), init=False, repr=False
    )

    def __post_init__(self) -> None:
        self.stored = whole("stored", self.stored, 2, 100_000)
        self.level = positive("level", self.level, 100.0)

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    def fit(self, windows: Float32Array) -> None:
        n, w, c = windows.shape
        chosen = drawn(n, max(2, min(self.stored, _MOST_CELLS // ((w + 2) * c))), self.seed)
        kept = windows[chosen].astype(np.float64)
        self._shape = (w, c)
        spread = kept.std(axis=(0, 1))
        within = np.median(kept.std(axis=1), axis=0)
        spread = np.where(
            spread > _LEAST, spread, 1.0
        )  # a channel that never varied is in units of its scaler's
        self._arrays = {
            "spread": spread,
            "within": np.where(within > _LEAST, within, spread),
            "usual": np.ones(c),
        }
        self._arrays["stored"] = np.ascontiguousarray(self._placed(kept).astype(np.float32))
        self._squares = _squares(self._arrays["stored"])
        self._arrays["usual"] = np.maximum(np.quantile(self._among(chosen), _SELDOM, axis=0), _LEAST_USUAL)

    def _placed(self, windows: NDArray[Any]) -> NDArray[np.float64]:
        """(c, n, w + 2) coordinates of (n, w, c) windows: points as far apart as the windows are unlike."""
        _, w, c = windows.shape
        values = np.moveaxis(np.asarray(windows, np.float64), 2, 0)
        spread, within = (self._arrays[key][:, None, None] for key in ("spread", "within"))
        if w < _LEAST_SHAPE:
            shape, extra = values / (spread * np.sqrt(2.0 * w)), np.zeros((c, len(windows), 2))
        else:
            middle = values.mean(axis=2, keepdims=True)
            width = np.maximum(values.std(axis=2, keepdims=True), _FLAT * within)
            shape = (values - middle) / (width * np.sqrt(2.0 * w))
            extra = self.level * np.concatenate(
                [middle / spread, np.log(np.maximum(width / within, 1.0))], axis=2
            )
        return np.concatenate([shape, extra], axis=2)

    def _among(self, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        """(m, c) distances of each stored window to the nearest that does not overlap with it."""
        stored = self._arrays["stored"]
        clash = np.abs(chosen[:, None] - chosen[None, :]) < self._shape[0]
        clash[clash.all(axis=1)] = np.eye(len(chosen), dtype=bool)[
            clash.all(axis=1)
        ]  # too few: all but itself
        pairs = zip(stored, self._squares, strict=True)
        return np.stack([_nearest(one, one, squares, clash) for one, squares in pairs], axis=1)

    def distances(self, windows: Float32Array) -> Scores:
        """(n, c) distances of each channel's window to the nearest stored one."""
        far = np.empty((len(windows), windows.shape[2]))
        count = self._arrays["stored"].shape[1]
        for place, part in batches(windows, beside=3 * windows.shape[1] * windows.shape[2] + 2 * count):
            placed = self._placed(part).astype(np.float32)
            channels = zip(placed, self._arrays["stored"], self._squares, strict=True)
            for channel, (one, stored, squares) in enumerate(channels):
                far[place, channel] = _nearest(one, stored, squares)
        return far

    def _parts(self, windows: Float32Array) -> Scores:
        return np.asarray(np.log1p(np.square(self.distances(windows) / self._arrays["usual"])))

    def score(self, windows: Float32Array) -> Scores:
        return np.asarray(self._parts(windows).mean(axis=1), np.float64)

    def contributions(self, windows: Float32Array) -> Scores:
        return shares(self._parts(windows))

    def settings(self) -> dict[str, Any]:
        return {"stored": self.stored, "level": self.level, "seed": self.seed, "shape": list(self._shape)}

    def arrays(self) -> dict[str, NDArray[Any]]:
        return dict(self._arrays)

    @classmethod
    def restore(cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        rest = dict(settings)
        w, c = shape_of(cls.name, rest.pop("shape"))
        profile = cls(**rest)
        kinds: dict[str, Any] = dict.fromkeys(("spread", "within", "usual"), (np.float64, (c,)))
        profile._shape = (w, c)
        profile._arrays = taken(cls.name, arrays, kinds | {"stored": (np.float32, (c, None, w + 2))})
        for key in kinds:
            if profile._arrays[key].min() < _LEAST:
                raise ValueError(f"{cls.name}: the array {key} must be at least {_LEAST:g}")
        if np.abs(profile._arrays["stored"]).max() > _FARTHEST:
            raise ValueError(f"{cls.name}: the array stored must be within ±{_FARTHEST:g}")
        profile._squares = _squares(profile._arrays["stored"])
        return profile


def _squares(stored: NDArray[np.float32]) -> NDArray[np.float32]:
    """(c, m) squared norms of (c, m, d) points."""
    return np.asarray(np.einsum("cmd,cmd->cm", stored, stored), np.float32)


def _nearest(
    some: NDArray[np.float32],
    stored: NDArray[np.float32],
    squares: NDArray[np.float32],
    barred: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """(n,) distances of (n, d) points to the nearest of (m, d), whose squared norms are (m,) `squares`;
    `barred` (n, m) pairs aside."""
    far = some @ stored.T
    far *= -2.0
    far += squares
    if barred is not None:
        far[barred] = np.inf
    # The difference itself, for a difference of squares would lose the digits of a small one.
    missed = some.astype(np.float64) - stored[far.argmin(axis=1)]
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", missed, missed)))
