"""Thresholds from extreme-value theory: SPOT (Siffer et al., KDD 2017).

Whatever scores are distributed like, what is left of them above a high level is close to a generalised
Pareto distribution (Pickands 1975). Fitted to these excesses it tells thresholds for false-alarm rates that
are too low for counting, and it bends to the tail that is there: bounded, exponential or heavy.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .threshold import conformal_quantile

TAIL = 0.1
"""The share of scores that is taken for the tail; the paper takes 2 %, of streams longer than training is."""
MIN_PEAKS = 20
"""With fewer excesses their shape is guesswork, and the conformal quantile is taken instead."""
MAX_PEAKS = 1_000
"""A stream remembers this many of its latest excesses."""
_EXPONENTIAL = 1e-9  # a shape nearer to nought than this is nought
_SMALLEST = 1e-12  # of the largest excess: the first quartile counts as no less
_BY_CHANCE = 0.01  # of the false alarms of normal scores are beyond the limit


def spot_threshold(scores: NDArray[Any], false_alarm_rate: float, tail: float = TAIL) -> float:
    """The threshold that `false_alarm_rate` of fresh normal scores exceed, extrapolated from (n,) scores.

    The excesses over the `tail` quantile are fitted; the lower the rate, the higher the threshold. The
    conformal quantile is returned where extreme-value theory has nothing to add: for a rate of `tail` or
    more, and for fewer than MIN_PEAKS excesses (n below 200, or scores with few distinct values).
    Raises ValueError as `conformal_quantile` does.

    >>> scores = -np.log(np.linspace(0.0005, 0.9995, 1000))  # exponential: 1 % lie above 4.6
    >>> round(spot_threshold(scores, 0.01), 1)
    4.6
    """
    level, excesses = _split(scores, tail)
    if not 0 < false_alarm_rate < tail or len(excesses) < MIN_PEAKS:
        return conformal_quantile(scores, false_alarm_rate)
    return level + _beyond(*fit_tail(excesses), false_alarm_rate * len(scores) / len(excesses))


def fit_tail(excesses: NDArray[Any]) -> tuple[float, float]:
    """(shape, scale) of the generalised Pareto distribution of (n,) positive excesses.

    Like Grimshaw's trick it looks at the likelihood along one unknown, shape / scale, but averages over it
    instead of climbing to its top: the estimate of Zhang and Stephens (Technometrics 2009), which is less
    biased than the maximum for a few dozen excesses, always exists, and takes no iterations. O(n ** 1.5).

    >>> shape, scale = fit_tail(-np.log(np.linspace(0.001, 0.999, 999)))
    >>> abs(shape) < 0.03, abs(scale - 1) < 0.03
    (True, True)
    """
    sample = np.sort(np.asarray(excesses, np.float64))
    n = len(sample)
    if not n or not sample[0] > 0 or not math.isfinite(sample[-1]):
        raise ValueError("a tail needs at least one excess, each above 0 and finite")
    unit = float(sample[-1])
    sample = sample / unit
    count = 20 + int(math.sqrt(n))
    quartile = max(sample[max(int(n / 4 + 0.5) - 1, 0)], _SMALLEST)
    grid = (1 - np.sqrt(count / (np.arange(1, count + 1) - 0.5))) / (3 * quartile) + 1
    grid = grid[np.abs(grid) > _EXPONENTIAL]
    shapes = np.log1p(-np.outer(grid, sample)).mean(axis=1)
    likelihood = n * (np.log(-grid / shapes) - shapes - 1)
    weights = np.exp(likelihood - likelihood.max())
    ratio = float(grid @ weights / weights.sum())
    shape = float(np.log1p(-ratio * sample).mean())
    if abs(shape) < _EXPONENTIAL:
        return 0.0, float(sample.mean()) * unit
    return shape, -shape / ratio * unit


@dataclass
class Spot:
    """SPOT over a stream: alarms, and a threshold that goes on learning.

    `level` is where the tail begins; of `seen` scores `peaks` were above it, of which the latest `excesses`
    are kept. Memory: MAX_PEAKS numbers. The level stays where it was: when normal scores drift, take
    `dspot.Dspot`.

    A score above `limit`, which one normal score in 100 / rate exceeds, teaches nothing. In the paper no
    alarm does. At its rate of 0.01 % that loses little, but at 1 % it cuts a tenth off the tail: the
    threshold sinks, and over 10,000 scores 2.5 % were alarms, against 1.0 % this way.
    """

    false_alarm_rate: float
    level: float
    threshold: float
    limit: float
    seen: int
    peaks: int
    excesses: deque[float] = field(repr=False)

    @classmethod
    def start(cls, scores: NDArray[Any], false_alarm_rate: float, tail: float = TAIL) -> Self:
        """Calibrated on (n,) scores of normal rows. ValueError for a rate not between 0 and `tail`."""
        if not 0 < false_alarm_rate < tail:
            raise ValueError(
                f"false_alarm_rate is {false_alarm_rate}: give a share between 0 and {tail}, the tail's"
            )
        level, excesses = _split(scores, tail)
        return cls(
            false_alarm_rate,
            level,
            spot_threshold(scores, false_alarm_rate, tail),
            spot_threshold(scores, false_alarm_rate * _BY_CHANCE, tail),
            seen=len(scores),
            peaks=len(excesses),
            excesses=deque(excesses.tolist(), maxlen=MAX_PEAKS),
        )

    def update(self, scores: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of the next (n,) scores, in the order of time, are alarms; the threshold learns on the way.

        Only scores above the level are looked at one by one. ValueError for one that is not finite.
        """
        values = finite(scores)
        alarms = np.zeros(len(values), np.bool_)
        calm = 0  # the first row that is not yet counted
        for i in np.flatnonzero(values > self.level).tolist():
            self.seen += i - calm
            alarms[i] = self.take(float(values[i]))
            calm = i + 1
        self.seen += len(values) - calm
        return alarms

    def take(self, score: float) -> bool:
        """Whether the next score is an alarm; the threshold learns from it unless it is above the limit."""
        alarm = score > self.threshold
        if score > self.limit:
            return alarm
        self.seen += 1
        if score > self.level:
            self.peaks += 1
            self.excesses.append(score - self.level)
            # One more excess among hundreds moves little: fit again when there are a fiftieth more.
            if len(self.excesses) >= MIN_PEAKS and self.peaks % (1 + len(self.excesses) // 50) == 0:
                self._fit()
        return alarm

    def _fit(self) -> None:
        rate = self.false_alarm_rate * self.seen / self.peaks
        shape, scale = fit_tail(np.array(self.excesses))
        self.threshold = self.level + _beyond(shape, scale, rate)
        self.limit = self.level + _beyond(shape, scale, rate * _BY_CHANCE)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The state; `restore(arrays())` goes on alike to the last bit."""
        numbers = [self.false_alarm_rate, self.level, self.threshold, self.limit, self.seen, self.peaks]
        return {"spot": np.array(numbers, np.float64), "excesses": np.array(self.excesses, np.float64)}

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The stream again. Raises ValueError when the arrays are not those of one."""
        numbers, excesses = finite(arrays["spot"]), finite(arrays["excesses"])
        if numbers.shape != (6,) or len(excesses) > MAX_PEAKS or (excesses <= 0).any():
            raise ValueError(f"spot {numbers.shape} and excesses {excesses.shape} are no state of a stream")
        rate, level, threshold, limit, seen, peaks = numbers.tolist()
        latest = deque(excesses.tolist(), maxlen=MAX_PEAKS)
        return cls(rate, level, threshold, limit, int(seen), int(peaks), latest)


def _split(scores: NDArray[Any], tail: float) -> tuple[float, NDArray[np.float64]]:
    """The level above which `tail` of the scores lie, at most, and their excesses over it."""
    values = finite(scores)
    level = conformal_quantile(values, tail)
    return level, values[values > level] - level


def _beyond(shape: float, scale: float, rate: float) -> float:
    """The excess that `rate` of all excesses surpass. Never below 0, whatever the rate."""
    steps = max(-math.log(rate), 0.0)
    if abs(shape * steps) < _EXPONENTIAL:
        return scale * steps
    return scale * math.expm1(min(shape * steps, 700.0)) / shape


def finite(scores: NDArray[Any]) -> NDArray[np.float64]:
    """(n,) scores as float64; ValueError for another shape, and for one that is not finite."""
    values = np.asarray(scores, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"scores of shape {values.shape} must be one per row, and every one finite")
    return values
