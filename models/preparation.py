"""Raw rows become a detector's channels: missing values, baseline, season and trend, statistics, scale.

One object holds what the chain has learnt, and one method applies it, in training and in scoring. Every step
looks back only, at most so far as `tail` says, so that a stream which keeps that many rows gets the same
numbers as a batch, to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from . import baseline as baselines
from .choices import DecomposeKind, ScalerKind
from .decomposition import Decomposition
from .derived_scaler import scaled
from .features import Scaler, runs
from .missing import Missing
from .prepared_settings import restored
from .raw_rows import clock, table
from .rolling import Statistic, derive

MOST_STATISTICS = 32
MOST_CHANNELS = 10_000
_CELLS = 1 << 15  # of raw rows at once: what a statistic of them needs stays in the processor's cache
_LARGEST = 1e100  # of more, squares and their sums would no longer be finite

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Preparation:
    """The fitted chain for rows of c raw channels. Its d channels are the rows (less the median of the last
    `baseline` rows, unless that is 0, and less season and trend where they are decomposed), and after them c
    channels for each of the `statistics`; `scaler` is for all d."""

    missing: Missing
    decomposition: Decomposition | None
    statistics: tuple[Statistic, ...]
    scaler: Scaler
    baseline: int = 0

    def __post_init__(self) -> None:
        baselines.checked_length(self.baseline)
        if len(self.statistics) > MOST_STATISTICS or len(set(self.statistics)) != len(self.statistics):
            raise ValueError(
                f"statistics has {len(self.statistics)} entries: give at most {MOST_STATISTICS}, each once"
            )
        d, groups = len(self.scaler.center), 1 + len(self.statistics)
        if not 0 < d <= MOST_CHANNELS or d % groups:
            raise ValueError(
                f"center has {d} channels: it must have 1 to {MOST_CHANNELS}, in {groups} groups alike"
            )
        if self.decomposition and self.decomposition.cycle.shape[1] != self.channels_in:
            raise ValueError(
                f"cycle has {self.decomposition.cycle.shape[1]} channels: center has {self.channels_in}"
            )
        if self.decomposition and self.missing.policy == "drop" and not self.decomposition.clocked:
            raise ValueError(
                "missing is 'drop' with a season, but the rows have no phase: once rows are dropped only"
                " their times tell the season; give the phase, or hold missing values"
            )

    @classmethod
    def fit(
        cls,
        rows: NDArray[Any],
        segments: NDArray[Any] | None = None,
        *,
        scaler: ScalerKind = "robust",
        decompose: DecomposeKind = "none",
        periods: Sequence[int] = (),
        statistics: Sequence[str] = (),
        missing: str = "refuse",
        baseline: int = 0,
        phase: NDArray[Any] | None = None,
    ) -> Self:
        """Learns from (n, c) rows in raw units; `segments` as in `features.runs`.

        `decompose` takes out season and trend, with `periods` in rows (found from the rows when there are
        none); `phase` is (n,), each row's time in periods of its grid. `statistics` are such as "mean:10",
        see `rolling.Statistic`; `missing` is "refuse", "drop" or such as "hold:3", see `missing.Missing`;
        `baseline` is in rows, see `baseline.followed`.
        With the defaults it is `Scaler.fit` and nothing else. Raises ValueError naming the parameter, or the
        cell, that cannot be used.
        """
        policy, baseline = Missing.parse(missing), baselines.checked_length(baseline)
        wanted = tuple(Statistic.parse(one) for one in statistics)
        values = table(rows)
        times = clock(phase, len(values))
        settled, kept = policy.settle(values, segments)
        if not kept.any():
            raise ValueError(f"none of {len(values)} rows takes part (missing={missing}): send more of them")
        if segments is not None:  # numbered anew: one that comes back stays apart when all between is dropped
            segments = np.cumsum(np.diff(segments, prepend=segments[:1]) != 0)[kept]
        whole, times = settled[kept], None if times is None else times[kept]
        season = None
        if decompose != "none":
            from .seasonality import fit

            away = [_away(whole[one], baseline) for one in runs(len(whole), segments)]
            season = fit(
                np.concatenate(away),
                decompose,
                periods=tuple(sorted(periods)),
                segments=segments,
                phase=times,
            )
        elif len(periods):
            raise ValueError(f"periods is {tuple(periods)}, but decompose is none: choose stl or mstl")
        if not season and not wanted and not baseline:
            return cls(policy, None, (), Scaler.fit(whole, scaler))
        unscaled = Scaler.fit(np.zeros((1, whole.shape[1] * (1 + len(wanted)))), "none")
        chain = cls(policy, season, wanted, unscaled, baseline)
        parts = [
            chain._channels(whole[one], None if times is None else times[one])
            for one in runs(len(whole), segments)
        ]
        return replace(chain, scaler=scaled(np.concatenate(parts), whole, scaler))

    def transform(
        self,
        rows: NDArray[Any],
        segments: NDArray[Any] | None = None,
        phase: NDArray[Any] | None = None,
        *,
        past: int = 0,
    ) -> NDArray[np.float32]:
        """(n, c) raw rows become (n, d) float32; the first `past` of them serve as past and are not returned.

        A row depends on at most `tail` rows before it in its segment; what lies before a segment is taken to
        have been like its first row. Rows that take no part (see `missing.Missing`) come out as NaN.
        Raises ValueError naming the cell that the missing policy refuses, or a shape that does not fit.
        """
        values = table(rows, self.channels_in)
        if not 0 <= past <= len(values):
            raise ValueError(f"past is {past}: it must be from 0 to the {len(values)} rows that are given")
        times = clock(phase, len(values))
        settled, kept = self.missing.settle(values, segments)
        if not (self.decomposition or self.statistics or self.baseline):
            plain = self.scaler.transform(settled[past:])
            plain[~kept[past:]] = np.nan
            return plain
        if self.decomposition and times is None and self.missing.policy == "drop":
            raise ValueError("phase is missing: a season with missing='drop' needs each row's phase")
        out = np.full((len(values) - past, self.channels_out), np.nan, np.float32)
        for one in runs(len(values), segments):
            if one.stop <= past:
                continue
            here = one.start + np.flatnonzero(kept[one])
            first = int(np.searchsorted(here, past))
            clocked = None if times is None else times[here]
            out[here[first:] - past] = self._stretch(settled[here], clocked, first)
        return out

    def _stretch(self, rows: Rows, phase: NDArray[np.int64] | None, first: int) -> NDArray[np.float32]:
        """One stretch, in blocks of bounded size: a row depends on its reach alone, not on its block."""
        n, reach = len(rows), self._reach
        size = max(_CELLS // self.channels_in, 4 * reach, 1)
        out = np.empty((n - first, self.channels_out), np.float32)
        for start in range(first, n, size):
            stop, low = min(start + size, n), max(0, start - reach)
            times = None if phase is None else phase[low:stop]
            block = self._channels(rows[low:stop], times, start - low)
            out[start - first : stop - first] = self.scaler.transform(block)
        return out

    def _channels(self, rows: Rows, phase: NDArray[np.int64] | None, first: int = 0) -> Rows:
        """The derived channels of a stretch's rows from `first` on, not yet scaled."""
        rows = np.clip(rows, -_LARGEST, _LARGEST)
        if self.baseline:
            low = max(0, first - (self._reach - baselines.reach(self.baseline)))
            rows, first = _away(rows, self.baseline, low), first - low
            phase = None if phase is None else phase[low:]
        if not self.decomposition:
            return derive(rows, self.statistics, first)
        low = max(0, first - self._rolling)
        return derive(self.decomposition.residual(rows, phase, low), self.statistics, first - low)

    def keep(self, rows: NDArray[Any], further: int = 0) -> NDArray[np.int64]:
        """Which of a segment's latest (n, c) rows a stream keeps as past for those to come: indices, rising.
        They are the last `tail` and `further` ones, not counting rows that are dropped."""
        values = table(rows, self.channels_in)
        if self.missing.policy == "drop":
            whole = np.flatnonzero(np.isfinite(values).all(axis=1))
        else:
            whole = np.arange(len(values))
        return whole[max(0, len(whole) - self.tail - further) :]

    @cached_property
    def _reach(self) -> int:
        """Rows of past, all of them taking part."""
        season = self.decomposition.reach if self.decomposition else 0
        return self._rolling + season + (baselines.reach(self.baseline) if self.baseline else 0)

    @cached_property
    def _rolling(self) -> int:
        return max((one.reach for one in self.statistics), default=0)

    @property
    def tail(self) -> int:
        """How many rows before its own a row's channels depend on; 0 when each row is scaled by itself."""
        return self._reach + self.missing.reach

    @property
    def channels_in(self) -> int:
        """c, the raw channels."""
        return len(self.scaler.center) // (1 + len(self.statistics))

    @property
    def channels_out(self) -> int:
        """d, the derived channels."""
        return len(self.scaler.center)

    @property
    def origin(self) -> NDArray[np.int64]:
        """(d,): the raw channel behind each."""
        return np.tile(np.arange(self.channels_in), 1 + len(self.statistics))

    def settings(self) -> dict[str, Any]:
        """Everything but the arrays, as JSON."""
        season = self.decomposition
        return {
            "scaler": self.scaler.kind,
            "missing": str(self.missing),
            "statistics": [str(one) for one in self.statistics],
            **(season.settings() if season else {"decompose": "none"}),
            **({"baseline": self.baseline} if self.baseline else {}),
        }

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """float64: `center` and `scale` (d,); with a season `cycle` (L, c) and `noise` (c,)."""
        season = self.decomposition
        return self.scaler.arrays() | (season.arrays() if season else {})

    @classmethod
    def restore(cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The fitted chain again. `settings` and `arrays` may come from anywhere: ValueError names what is
        not there, does not belong there or cannot be."""
        return cls(*restored(settings, arrays))


def _away(rows: Rows, baseline: int, first: int = 0) -> Rows:
    return baselines.followed(rows, baseline, first) if baseline else rows[first:]
