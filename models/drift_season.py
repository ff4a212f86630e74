"""Rows of the same part of a season's cycle: night is laid against nights, not against all history."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .drift_rows import Rows
from .features import runs
from .periodicity import period

Times = NDArray[np.float64]

_CLOCKS = (
    3_600.0,
    86_400.0,
    604_800.0,
)  # what seasons keep to; a found one that is nearly as long is as long
_NEARLY = 0.03
_STEPS = 20  # of a window: a season longer than the window has as many samples or more
_LEAST_CYCLES = 2.0
_SAME = 0.01  # of a cycle: rows so near have the same phase
_NEAR = 0.125  # of a cycle: where none is so near, the reference does not know this phase
_LEAST_SAME = 100


def known(times: NDArray[Any] | None, rows: int) -> Times | None:
    """The (n,) times if each is known. Raises ValueError where they do not fit the rows."""
    if times is None:
        return None
    values = np.asarray(times, np.float64)
    if values.shape != (rows,):
        raise ValueError(f"times have shape {values.shape} for {rows} rows: give one for each, in seconds")
    return values if np.isfinite(values).all() else None


def find(scaled: Rows, segments: NDArray[Any] | None, times: Times, window: int) -> float:
    """The season's length in seconds, 0.0 if none is found that is longer than a window: within a window a
    shorter one comes and goes, and the window has all of it."""
    longest = max(runs(len(scaled), segments), key=lambda one: one.stop - one.start)
    rows, seconds = scaled[longest], times[longest]
    step = max(1, window // _STEPS)
    whole = len(rows) // step * step
    means = rows[:whole].reshape(-1, step, rows.shape[1]).mean(axis=1)
    if len(rows) < 2 or seconds[-1] <= seconds[0]:
        return 0.0
    apart = (seconds[-1] - seconds[0]) / (len(rows) - 1)
    found = period([means]) * step
    if found <= window:
        return 0.0
    clock = next((one for one in _CLOCKS if abs(found * apart - one) <= _NEARLY * one), None)
    return clock or float(found * apart)


def usable(season: float, times: Times) -> bool:
    """Two cycles or more lie between the first row and the last."""
    return season > 0 and bool(times.max() - times.min() >= _LEAST_CYCLES * season)


def same_phase(reference: Times, wanted: Times, season: float) -> NDArray[np.bool_] | None:
    """Which of the reference's rows have the phase of a wanted row: those within a hundredth of a cycle, or
    the hundred nearest. None where the reference knows no row within an eighth of a cycle: all must do."""
    phases = np.sort(wanted % season)
    around = np.concatenate([phases[-1:] - season, phases, phases[:1] + season])
    own = reference % season
    after = np.searchsorted(around, own).clip(1, len(around) - 1)
    away: Times = np.minimum(np.abs(around[after] - own), np.abs(own - around[after - 1]))
    chosen: NDArray[np.bool_] = away <= _SAME * season
    if chosen.sum() < _LEAST_SAME:
        chosen = away <= np.sort(away)[min(_LEAST_SAME, len(away)) - 1]
        if away[chosen].max() > _NEAR * season:
            return None
    return chosen


def phase_text(times: Times, season: float) -> str:
    return f"{_clock(times[0] % season)} to {_clock(times[-1] % season)} of {_clock(season)}"


def rfc3339(seconds: float) -> str:
    """Empty for NaN.

    >>> rfc3339(0.0)
    '1970-01-01T00:00:00Z'
    """
    if not np.isfinite(seconds):
        return ""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}" + (f":{whole % 60:02}" if whole % 60 else "")
