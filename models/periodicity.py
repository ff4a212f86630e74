"""After how many rows a series repeats itself, told from its autocorrelation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_ROWS = 20_000  # of the longest stretch, its last
_SHORTEST = 4  # rows of a cycle
_CYCLES = 3  # that must have been seen
_LEAST = 0.3  # autocorrelation at the period and at its double
_NEAR = 0.9  # of the highest peak: the first one that high is the period, later ones are its multiples
_MAD_TO_DEVIATION = 1.4826
_FAR = 5.0  # robust deviations: rows beyond are cut off there, lest a spike hides what repeats


def period(stretches: Sequence[NDArray[Any]]) -> float:
    """The period of (n, c) stretches of rows in rows, not always a whole number; 0.0 when nothing repeats.

    It is the first high peak of the channels' mean autocorrelation, in which channels count by how clearly
    they repeat, and is sharpened on the peaks at its multiples. At least three cycles must lie in one
    stretch. Costs a Fourier transform per channel.

    >>> period([np.sin(2 * np.pi * np.arange(300) / 25)[:, None]])
    25.0
    """
    rows = max(stretches, key=len, default=np.zeros((0, 1)))[-_MOST_ROWS:]
    longest = len(rows) // _CYCLES
    if longest < _SHORTEST:
        return 0.0
    each = _autocorrelation(rows)
    heights = np.array([max((one[lag] for lag in _peaks(one, longest)), default=0.0) for one in each])
    if heights.max() < _LEAST:
        return 0.0
    mean = np.average(each, axis=0, weights=np.maximum(heights, 0.0) ** 2)
    peaks = _peaks(mean, longest)
    highest = max((mean[lag] for lag in peaks), default=0.0)
    least = max(_LEAST, 4.0 / float(np.sqrt(len(rows))))
    found = next((lag for lag in peaks if mean[lag] >= max(_NEAR * highest, least)), 0)
    if not found or mean[_summit(mean, 2 * found, found // 8)] < least:
        return 0.0
    return _sharpened(mean, found)


def _autocorrelation(rows: NDArray[Any]) -> NDArray[np.float64]:
    """(c, two thirds of n) autocorrelations of (n, c) rows without their straight trend; 0 for a channel that
    never varies."""
    n = len(rows)
    time = np.linspace(-1.0, 1.0, n)[:, None]
    values = np.asarray(rows, np.float64) - rows.mean(axis=0)
    values -= time * (values * time).sum(axis=0) / (time * time).sum()
    values -= np.median(values, axis=0)
    spread = np.median(np.abs(values), axis=0) * _MAD_TO_DEVIATION
    spread = np.where(spread > 0, spread, values.std(axis=0))
    values = np.clip(values, -_FAR * spread, _FAR * spread)
    values -= values.mean(axis=0)
    spectrum = np.fft.rfft(values, 2 * n, axis=0)
    sums = np.fft.irfft(np.abs(spectrum) ** 2, axis=0)[: max(2, 2 * n // 3)].T
    mean = sums / (n - np.arange(sums.shape[1]))
    whole = mean[:, :1]
    return np.divide(mean, whole, out=np.zeros_like(mean), where=whole > 1e-12)


def _peaks(correlation: NDArray[np.float64], longest: int) -> list[int]:
    """Lags of the local maxima after the correlation first fell below 0."""
    below = np.flatnonzero(correlation < 0)
    first = max(int(below[0]), _SHORTEST) if len(below) else len(correlation)
    inner = np.arange(first, min(longest + 1, len(correlation) - 1))
    high = (correlation[inner] >= correlation[inner - 1]) & (correlation[inner] > correlation[inner + 1])
    return [int(lag) for lag in inner[high]]


def _summit(correlation: NDArray[np.float64], near: int, reach: int) -> int:
    """The lag of the highest value within `reach` of a lag."""
    low = max(1, near - reach)
    return low + int(correlation[low : near + reach + 1].argmax())


def _sharpened(correlation: NDArray[np.float64], found: int) -> float:
    """A summit at k periods is known to half a row, so that the period is known to half a row over k."""
    best = float(found)
    k = 2
    while k * best + found / 8 < len(correlation) and correlation[round(k * best)] >= _LEAST:
        best = _summit(correlation, round(k * best), max(1, found // 8)) / k
        k += 1
    return best
