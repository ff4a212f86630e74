"""Rows on their way into a drift test: checked, scaled, thinned, cut into blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .features import Scaler, runs

Rows = NDArray[np.float32]

REFERENCE_ROWS = 400  # that one test sees; neighbours say the same, and MMD's cost grows with the square
WINDOW_ROWS = 200
LEAST_REFERENCE = 30
LEAST_ROWS = 10
_MOST_BLOCKS = 60  # a second of MMD
_LEAST_SCALE = 0.01  # of a channel's level: what is less than a sensor's own accuracy is no drift
_NAMED_CHANNELS = 3
_PARTS = 48  # of a cycle


def checked(rows: NDArray[Any], channels: tuple[str, ...], what: str, least: int) -> NDArray[np.float64]:
    """(n, c) finite float64; ValueError names what is wrong."""
    values = np.asarray(rows, np.float64)
    if values.ndim != 2 or values.shape[1] != len(channels):
        raise ValueError(
            f"{what} has shape {values.shape}: give (rows, {len(channels)}) for {', '.join(channels)}"
        )
    if len(values) < least:
        raise ValueError(f"{what} has {len(values)} rows: a drift test needs at least {least}")
    if not np.isfinite(values).all():
        row, channel = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(
            f"{what}, row {row}, {channels[channel]!r} is {values[row, channel]}: drop such rows first"
        )
    return values


def scaler(raw: NDArray[Any]) -> Scaler:
    robust = Scaler.fit(raw, "robust")
    return Scaler("robust", robust.center, np.maximum(robust.scale, _LEAST_SCALE * np.abs(robust.center)))


def within(raw: NDArray[Any], phases: NDArray[np.float64]) -> Scaler:
    """By the spread that is left within a part of the cycle; `phases` are (n,) from 0 to 1. By the spread of
    the whole season, what is odd at night would be small."""
    whole, part = scaler(raw), np.minimum((phases * _PARTS).astype(np.int64), _PARTS - 1)
    left = np.array(raw, np.float64)
    for one in np.unique(part):
        left[part == one] -= np.median(left[part == one], axis=0)
    scale = np.maximum(Scaler.fit(left).scale, _LEAST_SCALE * np.abs(whole.center))
    return Scaler("robust", whole.center, np.minimum(scale, whole.scale))


def with_mean(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """(k,) and their mean; one is its own mean."""
    return distances if len(distances) == 1 else np.append(distances, distances.mean())


def evenly(rows: Rows, most: int) -> Rows:
    return rows[spread(len(rows), most)]


def spread(count: int, most: int) -> NDArray[np.int64]:
    """At most `most` of `count` indices, evenly."""
    if count <= most:
        return np.arange(count)
    return np.linspace(0, count - 1, most).round().astype(np.int64)


def blocks(rows: int, segments: NDArray[Any] | None, window: int) -> list[slice]:
    """Overlapping blocks of contiguous rows as long as a window, or a third of a short reference."""
    length = max(min(window, rows // 3), LEAST_ROWS)
    found: list[slice] = []
    for one in runs(rows, segments):
        last = one.stop - length
        if last >= one.start:
            starts = [*range(one.start, last, max(length // 4, 1)), last]
            found += [slice(start, start + length) for start in starts]
    return [found[i] for i in spread(len(found), _MOST_BLOCKS)]


def moved_most(reference: Rows, rows: Rows, channels: tuple[str, ...]) -> tuple[str, ...]:
    """Ordered by KS distance; where that is saturated, by how far the median moved."""
    moves = np.abs(np.median(rows, axis=0) - np.median(reference, axis=0))
    apart = [
        (round(_ks_distance(reference[:, j], rows[:, j]), 2), float(moves[j])) for j in range(len(channels))
    ]
    order = sorted(range(len(channels)), key=lambda j: apart[j], reverse=True)
    return tuple(channels[j] for j in order[:_NAMED_CHANNELS])


def _ks_distance(one: Rows, other: Rows) -> float:
    """The largest gap between two empirical distribution functions."""
    both = np.concatenate([one, other])
    below = [np.searchsorted(np.sort(each), both, side="right") / len(each) for each in (one, other)]
    return float(np.abs(below[0] - below[1]).max())
