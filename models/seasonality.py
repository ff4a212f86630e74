"""Learning a season from training rows: STL for one period, MSTL for several, as statsmodels has them.

STL is Cleveland, Cleveland, McRae and Terpenning (1990), "STL: a seasonal-trend decomposition procedure based
on loess"; MSTL is Bandara, Hyndman and Bergmeir (2021), arXiv:2107.13462. Both run robustly, so that
anomalies among the training rows weigh little, and with a seasonal window so wide that the season hardly
changes from cycle to cycle (R's `s.window = "periodic"`): one cycle can be stored, and applied to later rows.
"""

from __future__ import annotations

from math import lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .choices import DecomposeKind
from .decomposition import Decomposition, Phase, Rows, cycle_length, deseasonalised
from .features import Scaler, runs
from .periods import find

_STRETCHES = 8  # the longest ones tell enough
_MOST_CYCLES, _MOST_ROWS, _FEWEST_CYCLES = 100, 10_000, 4  # of a stretch, the latest; seconds per channel
_FARTHEST = 20.0  # robust standard deviations: a row further out counts as that far
_ROBUST_PASSES = 5  # of statsmodels' 15; the weights have settled by then


def fit(
    rows: Rows,
    kind: DecomposeKind,
    *,
    periods: tuple[int, ...] = (),
    segments: NDArray[Any] | None = None,
    phase: Phase | None = None,
) -> Decomposition:
    """Learns the season of (n, c) rows, all of them numbers. Without `periods`, in rows and in rising order,
    they are found from the autocorrelation. Without `phase`, (n,) times of the rows in periods of their
    grid, the season begins with the longest stretch and others are aligned to it.

    Raises ValueError when no stretch holds two whole cycles, or no period is found.
    """
    where = _stretches(len(rows), segments, phase)
    if not periods:
        periods = find(rows[where[0]], 1 if kind == "stl" else 3) if where else ()
    length = cycle_length(kind, periods)
    usable = [one for one in where if one.stop - one.start >= 2 * length]
    if not usable:
        longest = max((one.stop - one.start for one in where), default=0)
        raise ValueError(
            f"periods {periods} need {2 * length} consecutive rows, and the longest stretch has {longest}:"
            " send more rows, shorten the periods or set decompose to none"
        )
    scale = Scaler.fit(rows)
    centred = np.clip((rows - scale.center) / scale.scale, -_FARTHEST, _FARTHEST)
    most = max(_FEWEST_CYCLES * length, min(_MOST_CYCLES * length, _MOST_ROWS))
    total, weight = np.zeros((length, rows.shape[1])), 0
    phases = []
    for one in usable:
        own = np.arange(one.stop - one.start) if phase is None else phase[one]
        latest = slice(max(one.start, one.stop - most), one.stop)
        cycle = _cycle(centred[latest], periods, own[latest.start - one.start :])
        if phase is None and weight:
            shift = _shift(cycle, total)
            cycle, own = np.roll(cycle, shift, axis=0), own + shift
        count = latest.stop - latest.start
        total, weight = total + count * cycle, weight + count
        phases.append(own)
    cycle = total / weight * scale.scale
    cycle -= cycle.mean(axis=0)
    noise = _noise([rows[one] for one in usable], phases, cycle, 1e-9 * scale.scale)
    return Decomposition(kind, periods, cycle, noise, phase is not None)


def _stretches(n: int, segments: NDArray[Any] | None, phase: Phase | None) -> list[slice]:
    """The longest stretches without a jump in time, the longest first."""
    unbroken = runs(n, segments)
    if phase is not None:
        jumps = phase - np.arange(n)
        unbroken = [
            slice(one.start + part.start, one.start + part.stop)
            for one in unbroken
            for part in runs(one.stop - one.start, jumps[one])
        ]
    return sorted(unbroken, key=lambda one: one.start - one.stop)[:_STRETCHES]


def _cycle(rows: Rows, periods: tuple[int, ...], phase: Phase) -> Rows:
    """One cycle of each channel's seasons, all periods added up: (L, c), at phase 0 to L - 1."""
    length = lcm(*periods)
    cycle = np.zeros((length, rows.shape[1]))
    for channel, values in enumerate(rows.T):
        if np.ptp(values) == 0:
            continue  # a constant has no season
        for period, season in zip(periods, _seasons(values, periods), strict=True):
            order = np.argsort(phase % period, kind="stable")
            borders = np.searchsorted((phase % period)[order], np.arange(1, period))
            profile = np.array([np.median(part) for part in np.split(season[order], borders)])
            cycle[:, channel] += np.tile(profile - profile.mean(), length // period)
    return cycle


def _seasons(values: NDArray[np.float64], periods: tuple[int, ...]) -> list[NDArray[np.float64]]:
    """(n,) for each period."""
    from statsmodels.tsa.seasonal import MSTL, STL

    # The smooth parts are computed at every tenth row of a period, and drawn straight between. The season is
    # not: a row of weight 0 at one of its first points would be drawn through all cycles (statsmodels 0.15).
    jump = periods[0] // 10 + 1
    options = {"seasonal_deg": 0, "trend_jump": jump, "low_pass_jump": jump, "robust": True}
    windows = [10 * (len(values) // period) + 1 for period in periods]
    if len(periods) == 1:
        passes = {"outer_iter": _ROBUST_PASSES}
        return [STL(values, period=periods[0], seasonal=windows[0], **options).fit(**passes).seasonal]
    options |= {"outer_iter": _ROBUST_PASSES}
    found = MSTL(values, periods=periods, windows=windows, stl_kwargs=options).fit().seasonal
    return list(found.T)


def _shift(cycle: Rows, onto: Rows) -> int:
    """By how many rows to roll a cycle so that it fits another best."""
    spectra = np.fft.rfft(onto, axis=0) * np.conj(np.fft.rfft(cycle, axis=0))
    return int(np.fft.irfft(spectra.sum(axis=1), len(cycle)).argmax())


def _noise(stretches: list[Rows], phases: list[Phase], cycle: Rows, least: Rows) -> Rows:
    """The spread of what is left once season and trend are out, never less than a hundredth of the season."""
    left = [deseasonalised(rows, cycle, phase) for rows, phase in zip(stretches, phases, strict=True)]
    spread = Scaler.fit(np.concatenate(left)).scale
    return np.maximum(np.maximum(spread, 0.01 * cycle.std(axis=0)), least)
