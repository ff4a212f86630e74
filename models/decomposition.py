"""Season and trend taken out of rows as they come, by a season that was learnt from training rows.

Fitting (`seasonality`) may look at all rows at once; what is stored is one cycle per channel, and applying it
looks back only: residual = row - cycle[phase] - trend, the trend being the median of what the last cycle's
rows are without their season. A level that moves has left the residual half a cycle later, and an anomaly
shorter than that hardly bends the trend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import lcm
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import NDArray

from .choices import DecomposeKind
from .features import runs
from .periods import LONGEST_CYCLE
from .phase import infer
from .rolling import trailing_median

Rows = NDArray[np.float64]
Phase = NDArray[np.int64]

_MOST_PERIODS = 4
_HIGHEST = 1e6  # of its noise; the fit takes a hundredth of the cycle's deviation for noise at least


@dataclass(frozen=True)
class Decomposition:
    """`cycle` is (L, c): the seasons of all `periods` added up, L being their least common multiple; it sums
    to zero per channel. `noise` is (c,), the residuals' spread on the training rows. `clocked`: the training
    rows had phases, so that cycle[0] is known to be the row whose phase is a multiple of L."""

    kind: DecomposeKind
    periods: tuple[int, ...]
    cycle: Rows
    noise: Rows
    clocked: bool

    def __post_init__(self) -> None:
        length = cycle_length(self.kind, self.periods)
        if self.cycle.ndim != 2 or len(self.cycle) != length or not np.isfinite(self.cycle).all():
            raise ValueError(
                f"cycle has shape {self.cycle.shape} for periods {self.periods}: it must be finite numbers of"
                f" shape ({length}, channels)"
            )
        if self.noise.shape != self.cycle.shape[1:] or not np.isfinite(self.noise).all():
            raise ValueError(f"noise has shape {self.noise.shape}: it must be one finite number per channel")
        if not ((self.noise > 0) & (np.abs(self.cycle) <= _HIGHEST * self.noise)).all():
            raise ValueError(
                f"noise must be above 0 and above the cycle's {_HIGHEST:g}th part in every channel"
            )

    @property
    def length(self) -> int:
        """Rows in a cycle."""
        return len(self.cycle)

    @property
    def reach(self) -> int:
        """How many rows before its own a residual depends on."""
        return _width(self.length) - 1

    def residual(self, rows: Rows, phase: Phase | None = None, first: int = 0) -> Rows:
        """The (n, c) rows of one stretch from `first` on, less season and trend: (n - first, c).

        `phase` is (n,), each row's time in periods of the grid; without it each row's is inferred from the
        rows before it (see `phase.infer`). Raises ValueError for a phase when the fit had none.
        """
        if phase is not None:
            if not self.clocked:
                raise ValueError(
                    "phase is given, but the season was fitted without: leave it out, or fit with it"
                )
            return deseasonalised(rows, self.cycle, phase, first)
        level = trailing_median(rows, _width(self.length), first)
        found = infer(rows / self.noise, level / self.noise, self._in_noise, first)
        out = np.empty((len(rows) - first, rows.shape[1]))
        offset = (found - np.arange(first, len(rows))) % self.length
        for one in runs(len(offset), offset):  # where the phase jumps, its past is seen by the new phase
            begin, end = first + one.start, first + one.stop
            low = max(0, begin - self.reach)
            seen = np.arange(low, end) + offset[one.start]
            out[one] = deseasonalised(rows[low:end], self.cycle, seen, begin - low)
        return out

    @cached_property
    def _in_noise(self) -> Rows:
        return self.cycle / self.noise

    def settings(self) -> dict[str, Any]:
        return {"decompose": self.kind, "periods": list(self.periods), "clocked": self.clocked}

    def arrays(self) -> dict[str, Rows]:
        return {"cycle": self.cycle, "noise": self.noise}

    @classmethod
    def restore(cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Raises ValueError naming what does not fit."""
        periods = settings["periods"]
        if not isinstance(periods, list) or not all(type(one) is int for one in periods):
            raise ValueError(f"periods is {periods!r}: it must be a list of whole numbers")
        if type(settings["clocked"]) is not bool:
            raise ValueError(f"clocked is {settings['clocked']!r}: it must be true or false")
        cycle, noise = (np.asarray(arrays[name], np.float64) for name in ("cycle", "noise"))
        return cls(settings["decompose"], tuple(periods), cycle, noise, settings["clocked"])


def deseasonalised(rows: Rows, cycle: Rows, phase: Phase, first: int = 0) -> Rows:
    """The (n, c) rows from `first` on, less the cycle at their phase and the trend of what is left then."""
    rest = rows - cycle[phase % len(cycle)]
    return np.subtract(rest[first:], trailing_median(rest, _width(len(cycle)), first))


def cycle_length(kind: DecomposeKind, periods: tuple[int, ...]) -> int:
    """Rows until all periods begin together again; ValueError when the periods cannot be used."""
    if kind not in ("stl", "mstl"):
        raise ValueError(f"decompose is {kind!r}: choose one of {', '.join(get_args(DecomposeKind))}")
    if kind == "stl" and len(periods) != 1:
        raise ValueError(f"periods is {periods}: stl takes one period, mstl several")
    rising = all(type(one) is int for one in periods) and all(a < b for a, b in pairwise(periods))
    if not (1 <= len(periods) <= _MOST_PERIODS and rising and periods[0] >= 2):
        raise ValueError(
            f"periods is {periods}: give 1 to {_MOST_PERIODS} whole numbers of rows from 2 on, rising"
        )
    length = lcm(*periods) if max(periods) <= LONGEST_CYCLE else max(periods)
    if length > LONGEST_CYCLE:
        raise ValueError(
            f"periods {periods} begin together every {length} rows, more than {LONGEST_CYCLE}: choose such as"
            " divide one another, or aggregate the rows"
        )
    return length


def _width(length: int) -> int:
    """The trend's window: a cycle, made odd so that a median is one of the values."""
    return length | 1
