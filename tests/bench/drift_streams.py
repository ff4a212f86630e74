"""Streams whose drift is known: seven channels with autocorrelated noise, and SKAB's rig.

What is normal and what is drift:

* seasonal: rows of minutes, a day's cycle of three deviations, four days known. Normal is the cycle; drift is
  the cycle three deviations higher in half of the channels, and a mode that was never seen.
* trending: a slow wander up and down by three deviations in 12,000 rows, known. Normal is more of it; drift
  is a steady climb out of it, eight deviations in 2,000 rows, and that mode.
* regimes: two regimes of 500 to 2,000 rows take turns, both known. Drift is a third one.
* skab: the first half of the anomaly-free run is known, normal is its second half; drift is the same rig a
  month later, each of the sixteen runs behind valve 1 by itself.
* errors: 0 or 1, whether an answer was wrong, in runs; 4 % of them known and normal, 16 % drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tests.bench.skab import SKAB

CHANNELS = (*"abcdef", "mode")
KNOWN, NORMAL, DRIFTED = 6_000, 15_000, 3_000
DAY = 1440
WANDER = 12_000
RAMP = 2_000
MOVED = np.array([1, 0, 1, 0, 1, 0], float)
MINUTE = 60.0


@dataclass(frozen=True)
class Stream:
    """(n, c) rows: `known` before, `normal` to be tested, and drifts that each follow upon the normal rows.
    `step` is seconds from row to row."""

    channels: tuple[str, ...]
    known: NDArray[Any]
    normal: NDArray[Any]
    drifts: tuple[NDArray[Any], ...]
    step: float = 0.0
    segments: NDArray[Any] | None = None


def seasonal(seed: int) -> Stream:
    rng = np.random.default_rng(seed)
    rows = np.arange(KNOWN + NORMAL + DRIFTED)
    turn = 2 * np.pi * (rows[:, None] / DAY + rng.random(6))
    cycle = 3 * np.array([1, 1, 1, 1, 0, 0]) * np.sin(turn)
    values = cycle + _noise(len(rows), rng)
    values[KNOWN + NORMAL :] += 3 * MOVED
    night = np.sin(2 * np.pi * rows / DAY) < 0
    busy = np.where(night, 0.2, 0.7)
    busy[KNOWN + NORMAL :] = 0.95
    return _stream(values, busy, rng, step=MINUTE)


def trending(seed: int) -> Stream:
    rng = np.random.default_rng(seed)
    rows = np.arange(2 * KNOWN + NORMAL + DRIFTED)
    wave = np.abs((rows / WANDER + rng.random()) % 1.0 * 4 - 2) - 1  # a triangle from -1 to 1
    climb = np.clip((rows - 2 * KNOWN - NORMAL) / RAMP, 0, 1)
    values = 1.5 * wave[:, None] * np.array([1, -1, 1, 1, 0, 0]) + _noise(len(rows), rng)
    values += 8 * climb[:, None] * MOVED
    return _stream(values, np.where(climb > 0, 0.95, 0.5), rng, known=2 * KNOWN)


def regimes(seed: int) -> Stream:
    rng = np.random.default_rng(seed)
    rows = np.arange(2 * KNOWN + NORMAL + DRIFTED)
    which = np.concatenate([np.full(int(rng.integers(500, 2000)), i % 2) for i in range(len(rows) // 500)])
    which = which[: len(rows)]
    which[2 * KNOWN + NORMAL :] = 2
    levels = np.array([[0.0] * 6, [4, -3, 0, 3, 2, 0], [-4, 3, 4, 0, 0, 5]])
    values = levels[which] + _noise(len(rows), rng)
    return _stream(values, np.array([0.2, 0.7, 0.95])[which], rng, known=2 * KNOWN)


def errors(seed: int) -> Stream:
    rng = np.random.default_rng(seed)
    share = np.repeat([0.04, 0.16], [2_000 + NORMAL // 2, DRIFTED])
    return _cut(_runs(share, rng)[:, None].astype(float), ("error",), 2_000, NORMAL // 2)


def skab(seed: int) -> Stream:
    import pandas as pd

    def rows(name: str) -> NDArray[Any]:
        frame = pd.read_csv(SKAB / name, sep=";")
        return frame.drop(columns=["datetime", "anomaly", "changepoint"], errors="ignore").to_numpy(float)

    calm = rows("anomaly-free/anomaly-free.csv")
    half = len(calm) // 2
    drifts = tuple(rows(f"valve1/{i}.csv") for i in range(16))
    names = tuple(f"c{i}" for i in range(calm.shape[1]))
    return Stream(names, calm[:half], calm[half:], drifts)


def _noise(count: int, rng: Generator) -> NDArray[np.float64]:
    """(n, 6) of unit variance: a row resembles the one before it by 0.9 to 0.98, and channels each other."""
    from scipy.signal import lfilter

    keep = np.array([0.9, 0.95, 0.98, 0.95, 0.9, 0.98])
    fresh = rng.standard_normal((count + 500, 6)) + 0.5 * rng.standard_normal((count + 500, 1))
    columns = [
        lfilter([np.sqrt(1 - one**2)], [1, -one], column / np.sqrt(1.25))
        for one, column in zip(keep, fresh.T, strict=True)
    ]
    return np.column_stack(columns)[500:]


def _runs(share: NDArray[np.float64], rng: Generator) -> NDArray[np.bool_]:
    """Ones in runs of five on average, so many of all."""
    leave, draws = 0.2, rng.random(len(share))
    enter = leave * share / (1 - share)
    state, found = False, np.zeros(len(share), bool)
    for i, draw in enumerate(draws):
        state = draw >= leave if state else draw < enter[i]
        found[i] = state
    return found


def _stream(
    values: NDArray[Any], busy: NDArray[Any], rng: Generator, step: float = 0.0, known: int = KNOWN
) -> Stream:
    """With the machine's mode beside the values: 0 idle, 1 to 3 busy."""
    mode = np.where(_runs(np.clip(busy, 0, 0.8), rng), 1 + (np.arange(len(busy)) // 40) % 3, 0)
    mode[(busy > 0.9) & (mode == 3)] = 4
    return _cut(np.column_stack([values, mode]), CHANNELS, known, NORMAL, step)


def _cut(rows: NDArray[Any], channels: tuple[str, ...], known: int, normal: int, step: float = 0.0) -> Stream:
    return Stream(channels, rows[:known], rows[known : known + normal], (rows[known + normal :],), step)


STREAMS = {one.__name__: one for one in (seasonal, trending, regimes, skab, errors)}
