"""The periods of a season, found from the autocorrelation of rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .features import Scaler

Rows = NDArray[np.float64]

LONGEST_CYCLE = 20_000  # rows; a week of minutes is 10,080

_LEAST_CORRELATION = 0.2
_LEAST_PROMINENCE = 0.1
_HIGHER = 0.1  # by so much a multiple of a period must exceed it to be one itself
_NEAR = 0.05  # of a lag: peaks wander by that much in noise
_FARTHEST = 5.0  # robust standard deviations
_LARGEST_SAMPLE = 100_000  # rows


def find(rows: Rows, most: int) -> tuple[int, ...]:
    """At most `most` periods of (n, c) consecutive rows, in rows and rising; those with the highest peaks.

    The most periodic channel tells. A multiple of a period is one itself only where it correlates
    noticeably better, as a week does over seven days. Raises ValueError when there is none.

    >>> find(np.sin(np.arange(200) * 2 * np.pi / 25)[:, None], 1)
    (25,)
    """
    latest = rows[-_LARGEST_SAMPLE:]
    scaler = Scaler.fit(latest)
    tame = np.clip((latest - scaler.center) / scaler.scale, -_FARTHEST, _FARTHEST)
    found = [_of_channel(values, most) for values in tame.T if np.ptp(values) > 0]
    best = max(found, key=lambda peaks: max(peaks.values(), default=0.0), default={})
    if not best:
        raise ValueError(
            f"no period is found in {len(rows)} rows: give periods, send at least three of them, or set"
            " decompose to none"
        )
    return tuple(sorted(best))


def _of_channel(values: NDArray[np.float64], most: int) -> dict[int, float]:
    """Periods and the autocorrelation at each."""
    from scipy.signal import detrend, find_peaks
    from statsmodels.tsa.stattools import acf

    lags = min(len(values) // 3, LONGEST_CYCLE)
    if lags < 3:
        return {}
    correlation = acf(detrend(values), nlags=lags + 1, fft=True, adjusted=True)
    least = max(_LEAST_CORRELATION, 4 / np.sqrt(len(values)))
    peaks, _ = find_peaks(correlation, height=least, prominence=_LEAST_PROMINENCE)
    kept: dict[int, float] = {}
    for peak in peaks.tolist():
        below = [one for one in kept if abs(peak - round(peak / one) * one) <= _NEAR * peak]
        if all(correlation[peak] > kept[one] + _HIGHER for one in below):
            period = _sharpened(correlation, peak)
            for one in below:  # a week has a whole number of days
                period = round(period / one) * one
            kept[period] = float(correlation[peak])
    highest = sorted(kept, key=lambda one: -kept[one])[:most]
    return {one: kept[one] for one in highest}


def _sharpened(correlation: NDArray[np.float64], peak: int) -> int:
    """The lag about `peak` whose multiples correlate best: a broad peak's top wanders in noise, but an error
    of one row in the period is one of ten rows in its tenth multiple."""
    away = int(_NEAR * peak)
    around = range(max(2, peak - away), min(peak + away, len(correlation) - 1) + 1)
    return max(around, key=lambda lag: (correlation[lag::lag][: len(correlation) // peak].mean(), -lag))
