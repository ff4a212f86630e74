"""The reference of one stream (rows, scores or errors), and the test against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from . import drift_online as online
from . import drift_season as season_of
from .drift_channels import ChannelTest
from .drift_kernels import Mmd
from .drift_lsdd import Lsdd
from .drift_randomness import lent
from .drift_rows import REFERENCE_ROWS, WINDOW_ROWS, Rows, blocks, evenly, scaler, spread, with_mean, within
from .drift_season import Times
from .drift_words import Settings
from .features import Scaler, runs

_KEPT_OF_SEASON = 6_000  # rows, for any part of the cycle to have some
_FEW_BLOCKS = 4.0  # that lie apart: their largest distance says little of the largest there is
_SIMPLY_ALL = "all: "


Distances = NDArray[np.float64]


class BatchTest(Protocol):
    """Distances and p-values between scaled rows."""

    @property
    def nothing_in_common(self) -> float: ...
    @property
    def corrected(self) -> str: ...
    def distances(self, reference: Rows, block: Rows) -> Distances: ...
    def measure(self, reference: Rows, rows: Rows) -> tuple[Distances, float]: ...
    def limits(self, own: Distances, trust: float) -> Distances: ...


@dataclass(frozen=True, eq=False)
class Part:
    """`rows` are (k, c) scaled reference rows in order of time, `times` theirs (k,) in seconds. A `season` of
    0 means that all of them serve for any window; `why` says why there is none though one was asked for.
    `limits` are of each distance that a test has, then of their mean; or of this alone. `arrays` are what an
    online test settled."""

    test: str
    scale: Scaler
    rows: Rows
    times: Times | None
    season: float
    why: str
    limits: Distances
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def threshold(self) -> float:
        return float(self.limits[-1])

    def statistic(self, distances: Distances) -> float:
        """The mean of the (k,) distances; or of how many times its own limit each is, times the threshold,
        if that is more: channels that wander all the time hide no calm one that moves."""
        mean = float(distances.mean())
        if len(self.limits) == 1:
            return mean
        return max(mean, float((distances / self.limits[:-1]).mean()) * self.threshold)

    @property
    def sample(self) -> Rows:
        return evenly(self.rows, REFERENCE_ROWS)

    def of_phase(self, times: Times | None) -> tuple[NDArray[np.int64], str]:
        """Which rows of the reference to lay beside rows of these times, and what is to be said of it."""
        everything = np.arange(len(self.rows))
        if not self.season or self.times is None:
            return everything, self.why
        if times is None:
            return everything, f"{_SIMPLY_ALL}the rows came without times"
        chosen = season_of.same_phase(self.times, times, self.season)
        if chosen is None:
            return everything, f"{_SIMPLY_ALL}the reference has no row of this part of the cycle"
        return np.flatnonzero(chosen), season_of.phase_text(times, self.season)


def batch_test(name: str, sample: Rows, settings: Settings) -> BatchTest:
    if name == "mmd":
        return Mmd.of(sample, settings.p_value)
    if name == "lsdd":
        with lent(settings.seed):
            return Lsdd.of(sample, settings.p_value)
    return ChannelTest.of(name, sample, settings.p_value, settings.correction)


def fit(
    name: str,
    raw: NDArray[np.float64],
    segments: NDArray[Any] | None,
    times: Times | None,
    settings: Settings,
) -> Part:
    """Learns what (n, c) rows are like, how far their blocks lie from the rest, and their season."""
    scale = _unscaled(raw) if name == "fisher" else scaler(raw)
    season, why = _season(scale.transform(raw), segments, times, settings)
    if name in online.NAMES and season:
        season, why = 0.0, f"{_SIMPLY_ALL}online tests know no season"
    if season and times is not None:
        scale = within(raw, times % season / season)
    rows = scale.transform(raw)
    kept = spread(len(rows), _KEPT_OF_SEASON if season else REFERENCE_ROWS)
    base = Part(
        name, scale, rows[kept], None if times is None else times[kept], season, why, np.array([np.inf])
    )
    cut = blocks(len(rows), segments, settings.window)
    length = cut[0].stop - cut[0].start if cut else len(rows)
    trust = max(0.0, 1.0 - _FEW_BLOCKS * length / len(rows))
    if name in online.NAMES:
        return _with_online(base, rows, segments, settings, trust)
    with lent(settings.seed):
        test = batch_test(name, base.sample, settings)
        if settings.follows:
            return replace(base, limits=np.array([test.nothing_in_common]))
        every = [with_mean(test.distances(*_beside(rows, times, season, one))) for one in cut]
        own = np.max(every, axis=0)
        return replace(base, limits=test.limits(own, trust))


def _beside(rows: Rows, times: Times | None, season: float, block: slice) -> tuple[Rows, Rows]:
    """The rest of the reference as it will be laid beside a window, and the block as if it were one."""
    rest = np.ones(len(rows), bool)
    rest[block] = False
    if season and times is not None:
        own = times[block]
        other = np.abs(times - own.mean()) > max(season / 2, (own[-1] - own[0]) / 2)
        chosen = season_of.same_phase(times[other], own, season)
        if chosen is not None:
            rest[:] = False
            rest[np.flatnonzero(other)[chosen]] = True
    return evenly(rows[rest], REFERENCE_ROWS), evenly(rows[block], WINDOW_ROWS)


def _season(
    rows: Rows, segments: NDArray[Any] | None, times: Times | None, settings: Settings
) -> tuple[float, str]:
    if not settings.season:
        return 0.0, ""
    if times is None:
        return 0.0, f"{_SIMPLY_ALL}the reference has no times"
    if settings.season == "auto":
        found = season_of.find(rows, segments, times, settings.window)
        return (found, "") if season_of.usable(found, times) else (0.0, f"{_SIMPLY_ALL}no season was found")
    if not season_of.usable(settings.season, times):
        return 0.0, f"{_SIMPLY_ALL}the reference has less than two cycles"
    return settings.season, ""


def _with_online(
    base: Part, rows: Rows, segments: NDArray[Any] | None, settings: Settings, trust: float
) -> Part:
    step = online.stride(settings.window)
    test = online.settle(base.test, base.sample, settings.expected_run_time / step, settings.seed)
    stretches = [rows[one][::step] for one in runs(len(rows), segments)]
    calm, most = online.rehearsed(test, base.sample, stretches, trust)
    return replace(base, limits=np.array([most]) if settings.follows else calm, arrays=test.arrays)


def _unscaled(raw: NDArray[np.float64]) -> Scaler:
    return Scaler.fit(raw, "none")
