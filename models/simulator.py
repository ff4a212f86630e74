"""A pump rig in equations: labelled rows that look like SKAB's, of any length, in two regimes.

A centrifugal pump of speed ratio s drives water through a valve of resistance K. With the affinity laws
(flow ~ s, head ~ s², power ~ s³) and a quadratic pump curve, H = H0 s² - A Q² meets H = K Q² at

    Q = s sqrt(H0 / (A + K)),   H = K Q²,   P = Q H / efficiency + friction s³

Vibration grows with imbalance · s² and with the bearings' wear; motor and water follow their losses and the
hall's air as first-order lags; the air follows the hour of the day. Every sensor adds AR(1) noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray

Series = NDArray[np.float64]
Kind = Literal["cavitation", "valve-closing", "imbalance", "leak", "stuck-sensor", "bearing-wear"]

CHANNELS = (
    "Accelerometer1RMS",
    "Accelerometer2RMS",
    "Current",
    "Pressure",
    "Temperature",
    "Thermocouple",
    "Voltage",
    "Volume Flow RateRMS",
)
"""As SKAB names them: g, g, A, bar, °C (motor), °C (water), V, L/min."""

MAINS = 230.0  # V
AIR, AIR_SWING = 22.0, 0.3  # °C, and how far the day moves it either way
CURVE = 1.0  # A, the pump curve's fall
MOTOR_LAG, WATER_LAG, AIR_LAG, LOAD_LAG = 90.0, 45.0, 600.0, 8.0  # s
LOAD_WANDER = 0.004  # standard deviation of the speed ratio
NOISE: Mapping[str, tuple[float, float]] = {  # standard deviation, correlation from row to row
    "Accelerometer1RMS": (0.004, 0.6),
    "Accelerometer2RMS": (0.004, 0.6),
    "Current": (0.12, 0.1),
    "Pressure": (0.05, 0.1),
    "Temperature": (0.35, 0.5),
    "Thermocouple": (0.15, 0.7),
    "Voltage": (3.0, 0.05),
    "Volume Flow RateRMS": (1.2, 0.6),
}


@dataclass(frozen=True, slots=True)
class Regime:
    """One build of the rig, all ratios but `air` (°C above the hall's usual)."""

    head: float  # H0: grows with the impeller's diameter
    valve: float  # opening; K = 1 / opening²
    imbalance: float
    friction: float
    vibration_gain: float  # of the accelerometers' mounting
    air: float


REGIMES: Mapping[str, Regime] = {
    "commissioned": Regime(head=1.0, valve=0.75, imbalance=1.0, friction=0.30, vibration_gain=1.0, air=0.0),
    # A larger impeller, balanced anew, on fresh bearings, behind a wider valve: faults that lower the flow or
    # shake the casing now look like the old normal.
    "rebuilt": Regime(head=1.25, valve=0.90, imbalance=0.62, friction=0.16, vibration_gain=0.9, air=-1.5),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """From row `start` for `rows` rows; severity 1 is plain to see, 0.3 hides in the noise. `channel` is the
    sensor that sticks, where the fault is one."""

    kind: Kind
    start: int
    rows: int
    severity: float = 1.0
    channel: str = "Volume Flow RateRMS"


def simulate(
    rows: int,
    *,
    regime: str = "commissioned",
    start: datetime,
    seed: int,
    faults: Sequence[Fault] | float = 0.0,
    period_s: float = 1.0,
) -> pd.DataFrame:
    """`rows` rows, one per `period_s` seconds: datetime, the eight CHANNELS, anomaly, changepoint (0 or 1).

    A number for `faults` is the share of rows under a fault, of kinds, lengths and severities drawn from
    `seed`. The rig starts warm. The same arguments give the same rows. Raises ValueError naming the argument.
    """
    _check(rows, regime, period_s)
    # Two streams, so that the rows outside of faults are the same with and without them.
    planner, rng = np.random.default_rng(seed).spawn(2)
    planned = _plan(rows, float(faults), planner) if isinstance(faults, int | float) else tuple(faults)
    for fault in planned:
        _check_fault(fault, rows)
    seconds = np.arange(rows) * period_s
    values = _sensors(REGIMES[regime], seconds, start, planned, period_s, rng)
    labels, changes = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    for fault in planned:
        labels[fault.start : fault.start + fault.rows] = 1
        changes[[fault.start, min(fault.start + fault.rows, rows - 1)]] = 1
    times = pd.Timestamp(start) + pd.to_timedelta(seconds, unit="s")
    return pd.DataFrame({"datetime": times, **values, "anomaly": labels, "changepoint": changes})


def _sensors(
    regime: Regime,
    seconds: Series,
    start: datetime,
    faults: Sequence[Fault],
    period: float,
    rng: Generator,
) -> dict[str, Series]:
    """What the eight sensors say."""
    n = len(seconds)
    grown = {kind: _severity(kind, faults, n) for kind in get_args(Kind)}
    speed = 1 + LOAD_WANDER * _noise(n, np.exp(-period / LOAD_LAG), rng)
    bubbles = grown["cavitation"] * np.abs(_noise(n, 0.3, rng))
    opening = regime.valve * (1 - 0.45 * grown["valve-closing"])
    resistance = 1 / opening**2 / (1 + 0.25 * grown["leak"])  # a leak is a second way out
    flow = speed * np.sqrt(regime.head / (CURVE + resistance)) * (1 - 0.05 * bubbles)
    head = resistance * flow**2 * (1 - 0.25 * bubbles)
    friction = (regime.friction + 0.25 * grown["bearing-wear"]) * speed**3
    power = flow * head / 0.7 + friction
    shaking = regime.imbalance * (1 + 0.6 * grown["imbalance"]) * speed**2
    shaking += 0.35 * grown["bearing-wear"] + 0.35 * bubbles
    losses = 0.4 * power + friction
    air = AIR + regime.air + AIR_SWING * _day(seconds, start)
    motor = _lag(_lag(air, period / AIR_LAG) + 90 * losses, period / MOTOR_LAG)
    water = _lag(air + 7 * power, period / WATER_LAG)
    true = {
        "Accelerometer1RMS": 0.21 * regime.vibration_gain * shaking,
        "Accelerometer2RMS": 0.27 * regime.vibration_gain * (0.3 + 0.7 * shaking),
        "Current": 3.0 * power,
        # A leak lets out before the manometer what the flow meter no longer sees.
        "Pressure": 1.0 * head * (1 - 0.25 * grown["leak"]),
        "Temperature": motor,
        "Thermocouple": water,
        "Voltage": MAINS - 0.8 * power,
        "Volume Flow RateRMS": 208 * flow * (1 - 0.12 * grown["leak"]),
    }
    read = {name: true[name] + NOISE[name][0] * _noise(n, NOISE[name][1], rng) for name in CHANNELS}
    for fault in faults:
        if fault.kind == "stuck-sensor":
            read[fault.channel][fault.start : fault.start + fault.rows] = read[fault.channel][fault.start]
    return read


def _severity(kind: Kind, faults: Sequence[Fault], n: int) -> Series:
    """How far a kind of fault has grown at each row: imbalance at once, the others over a third of it."""
    grown = np.zeros(n)
    for fault in faults:
        if fault.kind == kind:
            stretch = np.arange(min(fault.rows, n - fault.start))
            ramp = 1.0 if kind == "imbalance" else np.minimum(1, (stretch + 1) / max(fault.rows / 3, 1))
            grown[fault.start : fault.start + fault.rows] += fault.severity * ramp
    return grown


def _plan(n: int, rate: float, rng: Generator) -> tuple[Fault, ...]:
    """Faults of every kind in turn, a fifth of a minute to three minutes long, spread by random gaps."""
    if not 0 <= rate <= 0.5:
        raise ValueError(f"faults is {rate}: give a share of rows between 0 and 0.5")
    wanted = round(rate * n)
    kinds = rng.permutation(get_args(Kind))
    lengths: list[int] = []
    while sum(lengths) < wanted:
        left = wanted - sum(lengths)
        length = int(rng.integers(12, 181))
        lengths.append(left if left - length < 12 else length)
    gaps = rng.dirichlet(np.ones(len(lengths) + 1)) * (n - sum(lengths))
    places = np.floor(np.cumsum(gaps[:-1])).astype(int) + np.cumsum([0, *lengths[:-1]]).astype(int)
    return tuple(
        Fault(
            kinds[i % len(kinds)],
            int(place),
            length,
            severity=float(rng.uniform(0.4, 1.3)),
            channel=CHANNELS[int(rng.integers(len(CHANNELS)))],
        )
        for i, (place, length) in enumerate(zip(places, lengths, strict=False))
    )


def _day(seconds: Series, start: datetime) -> Series:
    """-1 to 1 over the day, warmest at 15 h."""
    hours = start.hour + start.minute / 60 + (start.second + seconds) / 3600
    swing: Series = np.cos(2 * np.pi * (hours - 15) / 24)
    return swing


def _noise(n: int, correlation: float, rng: Generator) -> Series:
    """AR(1) of unit variance: y[t] = correlation · y[t-1] + e[t]."""
    fresh = rng.standard_normal(n) * np.sqrt(1 - correlation**2)
    fresh[:1] /= np.sqrt(1 - correlation**2)
    return _recursion(fresh, correlation)


def _lag(target: Series, share: float) -> Series:
    """First-order lag, settled at its start: y[t] = y[t-1] + a (target[t] - y[t-1]), a = 1 - exp(-share)."""
    keep = float(np.exp(-share))
    settled = float(target[: max(1, min(len(target), 60))].mean())
    return settled + _recursion((1 - keep) * (target - settled), keep)


def _recursion(drive: Series, keep: float) -> Series:
    """y[t] = keep · y[t-1] + drive[t], as a convolution, so that it needs no loop."""
    size = 1 << (2 * len(drive)).bit_length()
    memory: Series = keep ** np.arange(len(drive), dtype=np.float64)
    both = np.fft.rfft(drive, size) * np.fft.rfft(memory, size)
    answer: Series = np.fft.irfft(both, size)[: len(drive)]
    return answer


def _check(rows: int, regime: str, period_s: float) -> None:
    if rows < 1:
        raise ValueError(f"rows is {rows}: ask for 1 or more")
    if regime not in REGIMES:
        raise ValueError(f"regime is {regime!r}: choose one of {', '.join(REGIMES)}")
    if not period_s > 0:
        raise ValueError(f"period_s is {period_s}: give seconds above 0")


def _check_fault(fault: Fault, rows: int) -> None:
    if fault.kind not in get_args(Kind):
        raise ValueError(f"fault is {fault.kind!r}: choose one of {', '.join(get_args(Kind))}")
    if not (0 <= fault.start < rows and fault.rows >= 1):
        raise ValueError(f"fault at row {fault.start} for {fault.rows}: it must begin within {rows} rows")
    if fault.channel not in CHANNELS:
        raise ValueError(f"channel is {fault.channel!r}: choose one of {', '.join(CHANNELS)}")
