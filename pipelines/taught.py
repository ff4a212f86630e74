"""The rows that the fits of a run learn from, as a file between the pipeline's steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from homeostat.models.fitting import Labelled

from . import gaps

Rows = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Training:
    """Rows to learn from: (n, c) raw rows, NaN where a number is missing that is held, with (n,) segments and
    phase (see `alignment.Aligned`); those that teach, (n,), are all but the labelled anomalies. `until` is
    the time of the latest row that the run read, RFC 3339, whether it teaches or not."""

    COLUMNS: ClassVar[tuple[str, ...]] = ("rows", "teaches", "segments", "phase")

    rows: Rows
    teaches: NDArray[np.bool_]
    segments: Whole
    phase: Whole
    until: str = ""

    def save(self, path: str) -> None:
        with Path(path).open("wb") as file:
            np.savez(file, until=[self.until], **{name: getattr(self, name) for name in self.COLUMNS})

    @classmethod
    def load(cls, path: str) -> Training:
        with np.load(path, allow_pickle=False) as stored:
            rows, teaches, segments, phase = (stored[name] for name in cls.COLUMNS)
            return cls(rows, teaches, segments, phase, str(stored["until"][0]))

    @property
    def normal(self) -> tuple[Rows, Whole, Whole]:
        """Rows that teach, their segments and phase."""
        segments = gaps.apart(self.segments, self.teaches)
        return self.rows[self.teaches], segments[self.teaches], self.phase[self.teaches]

    @property
    def labelled(self) -> Labelled | None:
        """All rows, when some are labelled anomalies."""
        if self.teaches.all():
            return None
        return Labelled(self.rows, ~self.teaches, self.segments, self.phase)
