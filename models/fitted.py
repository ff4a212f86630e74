"""A detector ready to judge rows: preparation, algorithm, window and threshold in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .alarms import lasting, trailing_mean
from .algorithm import Algorithm, Float32Array, Scores
from .contributions import shares
from .features import runs, windows
from .preparation import Preparation

LONGEST = 10_000
"""Rows that scores may be smoothed over, or that an alarm may have to last."""
_MOST_CELLS = 10_000_000  # of windows that are copied at once; 40 MB
_FEW = 8  # stretches of windows that are scored one by one rather than copied together


@dataclass(frozen=True)
class Fitted:
    """`reference` is (m, c) raw rows, contiguous in time, the latest that training saw, for the drift test.
    Scores are means over `smoothing` rows; an alarm is raised at the `min_duration`-th row in a row above the
    threshold."""

    algorithm: Algorithm
    channels: tuple[str, ...]
    window: int
    preparation: Preparation
    threshold: float
    reference: Float32Array
    smoothing: int = 1
    min_duration: int = 1

    def __post_init__(self) -> None:
        c = len(self.channels)
        if len(set(self.channels)) != c:
            raise ValueError(f"channels repeat a name: {', '.join(self.channels)}")
        if self.preparation.channels_in != c or self.reference.ndim != 2 or self.reference.shape[1] != c:
            raise ValueError(f"preparation and reference must have {c} channels")
        prepared = (self.window, self.preparation.channels_out)
        if self.algorithm.shape != prepared:
            raise ValueError(
                f"{self.algorithm.name} was fitted on windows of {self.algorithm.shape} (rows, channels),"
                f" not on {prepared}"
            )
        if not np.isfinite(self.threshold):
            raise ValueError(f"threshold is {self.threshold}: it must be finite")
        for name in ("smoothing", "min_duration"):
            if not 1 <= getattr(self, name) <= LONGEST:
                raise ValueError(f"{name} is {getattr(self, name)}: give 1 to {LONGEST} rows")

    @property
    def tail(self) -> int:
        """How many rows before its own a row's score and alarm depend on; see `keep` for dropped ones."""
        dropped = self.preparation.missing.policy == "drop"  # such a row has the score of the one before it
        lasting = (self.smoothing - 1) + (self.min_duration - 1)
        return self.preparation.tail + (self.window - 1) + lasting + dropped

    def keep(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        """Which of a segment's latest (n, c) rows a stream keeps as past for those to come: indices, rising.

        They are the last `tail`, for smoothing and duration count rows that are dropped; and where some of
        these are, the last `tail` that are not, for windows do not count them.
        """
        recent = np.arange(max(0, len(rows) - self.tail), len(rows))
        if self.preparation.missing.policy != "drop" or np.isfinite(rows[-self.tail :]).all():
            return recent
        return np.union1d(self.preparation.keep(rows, self.tail - self.preparation.tail), recent)

    def score(
        self,
        rows: NDArray[Any],
        segments: NDArray[Any] | None = None,
        phase: NDArray[Any] | None = None,
        wanted: NDArray[np.bool_] | None = None,
    ) -> Scores:
        """One score per row of (n, c) raw rows: that of the window which ends there; higher is odder.

        Rows before the first full window of a segment are scored as if its first row had lasted; a row that
        the missing policy drops has the score of the one before it. `phase` is as in `Preparation.fit`. Of
        rows that are not `wanted` (n,) only what the others need is computed; what they get means nothing.
        Raises ValueError, naming row and channel, for a value that the missing policy refuses.
        """
        kept, padded, places = self._padded(rows, segments, phase)
        scores = np.zeros(len(kept))
        if not len(places):
            return scores
        needed = np.ones(len(kept), bool) if wanted is None else _before(wanted, self.smoothing - 1)
        if wanted is not None and not kept.all():
            needed = np.ones(len(kept), bool)  # a dropped row asks for the score of one somewhere before it
        scores[kept & needed] = self._windowed(windows(padded, self.window), places[needed[kept]])
        if not kept.all():
            last = np.maximum.accumulate(np.where(kept, np.arange(len(kept)), -1))
            scores = scores[np.where(last >= 0, last, np.flatnonzero(kept)[0])]
        return trailing_mean(scores, self.smoothing, segments) if self.smoothing > 1 else scores

    def _windowed(self, every: Float32Array, places: NDArray[np.int64]) -> Scores:
        """The scores of the windows at some rising places, without a copy where they lie side by side."""
        together = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
        if len(together) <= _FEW:
            parts = [every[int(one[0]) : int(one[-1]) + 1] for one in together if len(one)]
        else:
            step = max(1, _MOST_CELLS // (self.window * self.preparation.channels_out))
            parts = [every[places[start : start + step]] for start in range(0, len(places), step)]
        return np.concatenate([self.algorithm.score(one) for one in parts]) if parts else np.zeros(0)

    def contributions(
        self,
        rows: NDArray[Any],
        segments: NDArray[Any] | None = None,
        wanted: NDArray[np.bool_] | None = None,
    ) -> Scores:
        """(m, c) shares of the raw channels in the scores of the m `wanted` rows (all of them): not negative,
        rows sum to 1; even for a row that is dropped."""
        kept, padded, places = self._padded(rows, segments, None)
        chosen = np.ones(len(kept), bool) if wanted is None else np.asarray(wanted, bool)
        parts = np.zeros((len(kept), len(self.channels)))
        told, ends = np.flatnonzero(kept & chosen), places[chosen[kept]]
        every = windows(padded, self.window) if len(ends) else padded
        step = max(1, _MOST_CELLS // (self.window * self.preparation.channels_out))
        for start in range(0, len(ends), step):
            derived = self.algorithm.contributions(every[ends[start : start + step]])
            for channel, origin in enumerate(self.preparation.origin):
                parts[told[start : start + step], origin] += derived[:, channel]
        return shares(parts[chosen])

    def _padded(
        self, rows: NDArray[Any], segments: NDArray[Any] | None, phase: NDArray[Any] | None
    ) -> tuple[NDArray[np.bool_], Float32Array, NDArray[np.int64]]:
        """Which of n rows take part; prepared rows, each stretch of them behind its own first row repeated;
        and where in the windows over these each row that takes part has the one which ends in it."""
        values = checked(rows, self.channels, finite=self.preparation.missing.policy == "refuse")
        prepared = self.preparation.transform(values, segments, phase)
        kept = np.isfinite(prepared).all(axis=1)
        parts, places, start, before = [], [], 0, self.window - 1
        for one in runs(len(prepared), segments):
            stretch = prepared[one][kept[one]]
            if len(stretch):
                parts += [np.repeat(stretch[:1], before, axis=0), stretch]
                places.append(np.arange(start, start + len(stretch)))
                start += before + len(stretch)
        if not parts:
            return kept, prepared[:0], np.zeros(0, np.int64)
        return kept, np.concatenate(parts), np.concatenate(places)

    def anomalies(self, scores: NDArray[Any], segments: NDArray[Any] | None = None) -> NDArray[np.bool_]:
        """Which of (n,) scores, in order of time, raise or hold an alarm."""
        above = np.asarray(scores) > self.threshold
        return lasting(above, self.min_duration, segments) if self.min_duration > 1 else above


def _before(wanted: NDArray[np.bool_], rows: int) -> NDArray[np.bool_]:
    """The wanted rows and so many before each of them."""
    needed = np.array(wanted, bool)
    for shift in range(1, min(rows, len(needed) - 1) + 1):
        needed[:-shift] |= wanted[shift:]
    return needed


def checked(rows: NDArray[Any], channels: Sequence[str], *, finite: bool = True) -> NDArray[np.float64]:
    """The rows as (n, c) float64; ValueError names the first cell that is no finite number."""
    try:
        values = np.asarray(rows, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"rows are not all numbers ({error}): send {len(channels)} numbers per row"
        ) from error
    if values.ndim != 2 or values.shape[1] != len(channels):
        raise ValueError(
            f"rows have shape {values.shape}: send (rows, {len(channels)}) values in the"
            f" order of the channels {', '.join(channels)}"
        )
    broken = ~np.isfinite(values)
    if finite and broken.any():
        row, channel = np.argwhere(broken)[0]
        raise ValueError(
            f"row {row}, channel {channels[channel]!r} is {values[row, channel]}: fill or drop"
            f" such cells first ({int(broken.sum())} of them)"
        )
    return values
