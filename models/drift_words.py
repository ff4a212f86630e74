"""What is asked of drift detection, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal, get_args

from .choices import CorrectionKind, DriftKind, DriftStream


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`every` new rows, the last `window` are tested. `season` is the length of a cycle in seconds, 0 or None
    where there is none, "auto" to look for one in the training rows. `expected_run_time` is how many rows an
    online test should run for, on independent rows, before it is wrong. `follows`: the detector follows slow
    change itself, so that only rows which have nothing in common with the reference are drift.
    Raises ValueError naming field, value and mend."""

    test: DriftKind = "mmd"
    p_value: float = 0.01
    window: int = 500
    every: int = 100
    on: tuple[DriftStream, ...] = ("features",)
    correction: CorrectionKind = "bonferroni"
    expected_run_time: int = 10_000
    season: float | Literal["auto"] | None = None
    follows: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for field, kinds in (("test", DriftKind), ("correction", CorrectionKind)):
            if getattr(self, field) not in get_args(kinds):
                raise ValueError(
                    f"{field} is {getattr(self, field)!r}: choose one of {', '.join(get_args(kinds))}"
                )
        if not self.on or not set(self.on) <= set(get_args(DriftStream)):
            raise ValueError(f"on is {self.on!r}: choose from {', '.join(get_args(DriftStream))}")
        if not 0 < self.p_value < 1:
            raise ValueError(f"p_value is {self.p_value}: give a number between 0 and 1")
        for field, least in (("window", 10), ("every", 1), ("expected_run_time", 1)):
            if getattr(self, field) < least:
                raise ValueError(f"{field} is {getattr(self, field)}: give {least} rows or more")
        if isinstance(self.season, int | float) and not 0 <= self.season < inf:
            raise ValueError(f"season is {self.season}: give seconds, 'auto' or None")


@dataclass(frozen=True, slots=True)
class Stretch:
    """So many rows, from when to when (RFC 3339, empty where nobody knows), and which part of a season's
    cycle they were chosen by: "06:00 to 06:50 of 24:00", or why none was."""

    rows: int
    start: str = ""
    end: str = ""
    phase: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`statistic` and `threshold` are distances; `p_value` is what `correction` left of it, None for online
    tests. `channels` are those that moved most, the farthest first; `seconds` the cost."""

    on: DriftStream
    test: str
    statistic: float
    threshold: float
    p_value: float | None
    drifted: bool
    channels: tuple[str, ...]
    correction: str
    reference: Stretch
    tested: Stretch
    seconds: float
