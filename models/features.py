"""From rows in raw units to scaled windows: segments, scaling, sliding windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self, get_args

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .choices import ScalerKind

Segments = NDArray[np.int64]

_FARTHEST = 1e6  # scaled values are clipped here, so that their squares stay finite in float32
_IQR_OF_NORMAL = 1.3489795003921634  # interquartile range of the standard normal distribution
_CONSTANT = 1e-9  # of its level: a channel that varies by less is constant but for rounding


def runs(rows: int, segments: NDArray[Any] | None) -> list[slice]:
    """The unbroken stretches of `rows` rows, in order; a segment that comes back later is a stretch anew.

    >>> runs(5, np.array([0, 0, 1, 1, 0]))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    if segments is None:
        return [slice(0, rows)] if rows else []
    if len(segments) != rows:
        raise ValueError(f"segments has {len(segments)} entries for {rows} rows: give one per row")
    borders = np.flatnonzero(np.diff(segments)) + 1
    edges = [0, *(int(border) for border in borders), rows]
    return [slice(a, b) for a, b in pairwise(edges) if b > a]


def windows(rows: NDArray[Any], window: int, segments: NDArray[Any] | None = None) -> NDArray[Any]:
    """Every window of `window` consecutive rows that lies within one segment.

    (n, c) rows become (m, w, c) windows in the order of their last rows. One segment gives a read-only view
    of `rows`, not a copy; several give a copy. A segment shorter than a window gives none.

    >>> windows(np.array([[1.], [2.], [3.]]), 2)[:, :, 0].tolist()
    [[1.0, 2.0], [2.0, 3.0]]
    """
    if window < 1:
        raise ValueError(f"window is {window}: give at least 1 row")
    stretches = [one for one in runs(len(rows), segments) if one.stop - one.start >= window]
    if not stretches:
        return np.empty((0, window, rows.shape[1]), rows.dtype)
    views = [_view(rows[one], window) for one in stretches]
    return views[0] if len(views) == 1 else np.concatenate(views)


def _view(rows: NDArray[Any], window: int) -> NDArray[Any]:
    """The windows over at least as many rows, read-only."""
    if not rows.flags.c_contiguous or rows.dtype.kind not in "fiub":
        return sliding_window_view(rows, window, axis=0).transpose(0, 2, 1)
    # The same view over a plain buffer, in which numpy checks its bounds itself: 1 µs instead of 20.
    n, c = rows.shape
    strides = (rows.strides[0], *rows.strides)
    view: NDArray[Any] = np.ndarray((n - window + 1, window, c), rows.dtype, rows, 0, strides)
    view.flags.writeable = False
    return view


@dataclass(frozen=True)
class Scaler:
    """Shifts and scales each channel. `robust` uses the median and the interquartile range (as wide as one
    standard deviation of a normal distribution), so that anomalies among the rows hardly move it; `standard`
    uses mean and standard deviation. NaN cells are left out of both.

    A channel that hardly varies is scaled by its standard deviation, and one that never does by a hundredth
    of its level: a constant channel is 0 while it stays and far from 0 once it moves.
    """

    kind: ScalerKind
    center: NDArray[np.float64]
    scale: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.kind not in get_args(ScalerKind):
            raise ValueError(f"scaler is {self.kind!r}: choose one of {', '.join(get_args(ScalerKind))}")
        if self.center.ndim != 1 or self.center.shape != self.scale.shape:
            raise ValueError(f"scaler: center {self.center.shape} and scale {self.scale.shape} do not match")
        if not (np.isfinite(self.center).all() and np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise ValueError("scaler: center must be finite, and scale finite and above 0")

    @classmethod
    def fit(cls, rows: NDArray[Any], kind: ScalerKind = "robust") -> Self:
        """Learns from (n, c) rows in raw units."""
        values = np.where(np.isfinite(rows), rows, np.nan).astype(np.float64)
        if kind == "none":
            return cls(kind, np.zeros(values.shape[1]), np.ones(values.shape[1]))
        if np.isnan(values).all(axis=0).any():
            raise ValueError(f"channel {int(np.isnan(values).all(axis=0).argmax())} holds no number at all")
        spread = np.nanstd(values, axis=0)
        center = np.nanmean(values, axis=0)
        if kind == "robust":
            low, center, high = np.nanpercentile(values, [25, 50, 75], axis=0)
            quartiles = (high - low) / _IQR_OF_NORMAL
            # Half of the rows on one level leave no interquartile range though the channel does vary.
            spread = np.where(quartiles > _CONSTANT * np.abs(center), quartiles, spread)
        level = np.where(center != 0, np.abs(center), 1.0)
        return cls(
            kind, center, np.where(spread > _CONSTANT * level, spread, np.maximum(0.01 * level, 1e-12))
        )

    def transform(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """(n, c) rows in raw units become (n, c) float32, clipped to ±1e6."""
        scaled = (np.asarray(rows, np.float64) - self.center) / self.scale
        return np.clip(scaled, -_FARTHEST, _FARTHEST).astype(np.float32)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        return {"center": self.center, "scale": self.scale}

    @classmethod
    def restore(cls, kind: ScalerKind, arrays: Mapping[str, NDArray[Any]]) -> Self:
        return cls(kind, np.asarray(arrays["center"], np.float64), np.asarray(arrays["scale"], np.float64))
