"""Same-phase residuals: how far a window is from what the season has at its place in the cycle."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .algorithm import Float32Array, Scores, whole
from .batches import batches
from .contributions import shares
from .periodicity import period
from .restoring import number_of, shape_of, taken
from .stretches import stretches

_LONGEST = 20_000  # rows of a cycle
_MOST_PHASES = 512  # tried for a window; the phases of a longer cycle are thinned out
_MOST_ROWS = 64  # of a window that are aligned with the cycle; those of a longer one are thinned out
_MOST_CELLS = 8_000_000  # of all phases' rows; 64 MB
_LEAST_SCALE = 0.05  # in scaled units: a season without noise is still not known any closer
_BEYOND = 3.0  # scales outside the season's range, at which rows are cut off before they are aligned
_FARTHEST = 1e7  # scaled values end at 1e6
_MAD_OF_NORMAL = 0.6744897501960817


@dataclass
class Seasonal:
    """Residuals against the same phase of earlier cycles, in units of their own robust scale (a seasonal
    naive model with the median over cycles; Hyndman and Athanasopoulos, Forecasting, 2021, ch. 5).

    Fitting finds the period (`period` 0: from the autocorrelation) and, for each phase, the median of each
    channel. Windows carry no times, so a window's phase is the one at which its earlier rows, all but the
    last sixth, lie closest to the season; a window shorter than the cycle goes by what it has, and errs
    towards small residuals. Where nothing repeats, the season is a single phase and the residual is that
    from each channel's median.

    A channel's part is log(1 + its squared residuals, averaged with the weight on the last rows, in units
    of their usual square); the score is the mean over channels.

    Range: 0 upwards, about 0.7 for a usual window. Cost: a window takes phases * rows * c multiplications,
    of at most 512 phases and 64 rows. Fitting costs a Fourier transform per channel.

    Parameters: `period` in rows (0: find it; else 2 to 20,000, seen at least twice in a stretch).

    >>> rows = np.sin(np.arange(400) * 2 * np.pi / 20)[:, None]
    >>> made = np.lib.stride_tricks.sliding_window_view(rows, 30, axis=0).transpose(0, 2, 1)
    >>> season = Seasonal(seed=0)
    >>> season.fit(made)
    >>> season.settings()["found"], bool(season.score(made[::-1, ::2].repeat(2, 1)).min() > 1)
    (20.0, True)
    """

    name: ClassVar[str] = "seasonal"

    period: int = 0
    seed: int = 0
    _shape: tuple[int, int] = field(default=(0, 0), init=False, repr=False)
    _found: float = field(default=0.0, init=False, repr=False)
    _arrays: dict[str, NDArray[Any]] = field(default_factory=dict, init=False, repr=False)
    _starts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64), init=False, repr=False)
    _phases: NDArray[np.float64] = field(default_factory=lambda: np.zeros((1, 0)), init=False, repr=False)

    def __post_init__(self) -> None:
        self.period = whole("period", self.period, 0, _LONGEST)
        if self.period == 1:
            raise ValueError("period is 1: give at least 2 rows, or 0 to have it found")

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    def fit(self, windows: Float32Array) -> None:
        _, w, c = windows.shape
        self._shape = (w, c)
        parts = sorted(stretches(windows), key=len, reverse=True)
        if self.period and len(parts[0]) < 2 * self.period:
            raise ValueError(
                f"period is {self.period}: the longest stretch of {len(parts[0])} rows holds no two such"
                " cycles; send more rows, or shorten the period"
            )
        self._found = float(self.period) or min(period(parts), float(_LONGEST))
        cycle = self._cycle(parts[0], self._at(0, len(parts[0])), np.zeros((self._length, c)))
        self._learn(cycle, parts[:1], [0])
        places = [0, *(self._place(part) for part in parts[1:])]
        at = np.concatenate([self._at(place, len(one)) for place, one in zip(places, parts, strict=True)])
        self._learn(self._cycle(np.concatenate(parts), at, cycle), parts, places)

    @property
    def _length(self) -> int:
        return max(1, round(self._found))

    @property
    def _step(self) -> float:
        """Phases per row: about 1, for a period need not be a whole number of rows."""
        return self._length / self._found if self._found else 1.0

    def _at(self, start: int, rows: int) -> NDArray[np.int64]:
        """The phases 0 … length - 1 of so many rows from the phase `start` on."""
        return np.asarray(np.floor(start + np.arange(rows) * self._step + 1e-9), np.int64) % self._length

    def _cycle(
        self, rows: NDArray[np.float64], at: NDArray[np.int64], without: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(length, c) medians of (n, c) rows by phase, those of `without` for a phase that none is at."""
        order = np.argsort(at, kind="stable")
        bounds = np.searchsorted(at[order], np.arange(self._length + 1))
        cycle = without.copy()
        for phase in range(self._length):
            if bounds[phase + 1] > bounds[phase]:
                cycle[phase] = np.median(rows[order[bounds[phase] : bounds[phase + 1]]], axis=0)
        return cycle

    def _learn(self, cycle: NDArray[np.float64], parts: list[NDArray[np.float64]], places: list[int]) -> None:
        missed = np.concatenate(
            [np.abs(one - cycle[self._at(place, len(one))]) for one, place in zip(parts, places, strict=True)]
        )
        middle = np.median(missed, axis=0) / _MAD_OF_NORMAL
        # Half of the rows on the season leave no median though the channel does stray from it.
        scale = np.where(middle > 0, middle, np.sqrt(np.square(np.minimum(missed, 1e3)).mean(axis=0)))
        self._settle({"cycle": cycle, "scale": np.maximum(scale, _LEAST_SCALE)})

    def _settle(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Takes the season, and lays out the rows that each phase would have a window begin with."""
        self._arrays = arrays
        rows = self._aligned(self._shape[0])
        count = min(self._length, _MOST_PHASES, max(1, _MOST_CELLS // (len(rows) * self._shape[1])))
        self._starts = np.arange(count) * self._length // count
        at = np.stack([self._at(int(start), self._shape[0])[rows] for start in self._starts])
        self._phases = (arrays["cycle"][at] / arrays["scale"]).reshape(count, -1)

    def _aligned(self, w: int) -> NDArray[np.int64]:
        """The rows of a window that are aligned: its earlier ones, or all where there are hardly any."""
        earlier = w - math.ceil(w / 6) if w > 2 else w
        return np.unique(np.linspace(0, earlier - 1, min(earlier, _MOST_ROWS)).round().astype(np.int64))

    def _place(self, rows: NDArray[np.float64]) -> int:
        """The phase that a stretch begins with, told from its first window."""
        return int(self._begins(rows[None, : self._shape[0]])[0])

    def _begins(self, windows: NDArray[np.float64]) -> NDArray[np.int64]:
        """(n,) phases of the first rows of (n, w, c) windows."""
        if len(self._starts) == 1:
            return np.full(len(windows), self._starts[0])
        cycle, scale = self._arrays["cycle"], self._arrays["scale"]
        low, high = cycle.min(axis=0) - _BEYOND * scale, cycle.max(axis=0) + _BEYOND * scale
        rows = np.clip(windows[:, self._aligned(self._shape[0])], low, high) / scale
        far = np.square(self._phases).sum(axis=1) - 2.0 * (rows.reshape(len(rows), -1) @ self._phases.T)
        return np.asarray(self._starts[far.argmin(axis=1)])

    def _parts(self, windows: Float32Array) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Pieces of (m, c) parts of the score."""
        w, c = self._shape
        later = np.exp2(-6.0 * np.arange(w)[::-1] / w)
        steps = np.arange(w) * self._step + 1e-9
        for place, part in batches(windows, beside=3 * w * c + len(self._starts)):
            values = part.astype(np.float64)
            begins = self._begins(values)
            turn = np.floor(begins[:, None] + steps).astype(np.int64) % self._length
            values -= self._arrays["cycle"][turn]
            values /= self._arrays["scale"]
            yield place, np.log1p(np.einsum("nwc,nwc,w->nc", values, values, later / later.sum()))

    def score(self, windows: Float32Array) -> Scores:
        scores = np.empty(len(windows))
        for place, parts in self._parts(windows):
            scores[place] = parts.mean(axis=1)
        return scores

    def contributions(self, windows: Float32Array) -> Scores:
        every = [parts for _, parts in self._parts(windows)]
        return shares(np.concatenate(every) if every else np.empty((0, windows.shape[2])))

    def settings(self) -> dict[str, Any]:
        return {"period": self.period, "seed": self.seed, "shape": list(self._shape), "found": self._found}

    def arrays(self) -> dict[str, NDArray[Any]]:
        return dict(self._arrays)

    @classmethod
    def restore(cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        rest = dict(settings)
        w, c = shape_of(cls.name, rest.pop("shape"))
        found = number_of(cls.name, "found", rest.pop("found"), 0.0, _LONGEST)
        season = cls(**rest)
        season._shape, season._found = (w, c), found
        kinds = {"cycle": (np.float64, (season._length, c)), "scale": (np.float64, (c,))}
        held = taken(cls.name, arrays, kinds)
        if held["scale"].min() < _LEAST_SCALE or np.abs(held["cycle"]).max() > _FARTHEST:
            raise ValueError(
                f"{cls.name}: the array scale must be at least {_LEAST_SCALE:g},"
                f" and the array cycle within ±{_FARTHEST:g}"
            )
        season._settle(held)
        return season
