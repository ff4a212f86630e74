"""One window of rows against a reference, by a batch test."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .choices import DriftStream
from .drift_part import BatchTest, Part, batch_test, fit
from .drift_randomness import lent
from .drift_rows import (
    LEAST_REFERENCE,
    LEAST_ROWS,
    REFERENCE_ROWS,
    WINDOW_ROWS,
    Rows,
    checked,
    evenly,
    moved_most,
)
from .drift_season import known, rfc3339
from .drift_words import Settings, Stretch, Verdict


@dataclass
class WindowTest:
    """The same rows get the same verdict. Not thread-safe."""

    on: DriftStream
    channels: tuple[str, ...]
    part: Part
    settings: Settings
    _test: BatchTest | None = field(default=None, repr=False)

    @classmethod
    def against(cls, reference: NDArray[Any], channels: tuple[str, ...], settings: Settings) -> Self:
        """Against (m, c) raw reference rows, contiguous in time. Raises ValueError for a reference that is
        too short or not finite."""
        values = checked(reference, channels, "reference", LEAST_REFERENCE)
        return cls("features", channels, fit(settings.test, values, None, None, settings), settings)

    def test(self, rows: NDArray[Any]) -> Verdict:
        """The verdict on (n, c) raw rows, a window of them or fewer, down to 10. Raises ValueError, naming
        the fault, for other input."""
        values = checked(rows, self.channels, "rows", LEAST_ROWS)
        return self.scaled(self.part.scale.transform(values), np.full(len(values), np.nan))

    def scaled(self, rows: Rows, times: NDArray[np.float64]) -> Verdict:
        """The verdict on (n, c) scaled rows and their times, NaN where they are not known."""
        begun, part = time.perf_counter(), self.part
        chosen, phase = part.of_phase(known(times, len(rows)))
        reference = evenly(part.rows[chosen], REFERENCE_ROWS)
        test = self._ready()
        with lent(self.settings.seed):
            distances, p_value = test.measure(reference, evenly(rows, WINDOW_ROWS))
        statistic = part.statistic(distances)
        return Verdict(
            on=self.on,
            test=part.test,
            statistic=statistic,
            threshold=part.threshold,
            p_value=p_value,
            drifted=bool(p_value < self.settings.p_value and statistic > part.threshold),
            channels=moved_most(reference, rows, self.channels),
            correction=test.corrected,
            reference=of_reference(part, chosen, phase),
            tested=stretch(len(rows), times, phase if part.season else ""),
            seconds=time.perf_counter() - begun,
        )

    def _ready(self) -> BatchTest:
        if self._test is None:
            with lent(self.settings.seed):
                self._test = batch_test(self.part.test, self.part.sample, self.settings)
        return self._test


def of_reference(part: Part, chosen: NDArray[np.int64], phase: str) -> Stretch:
    return stretch(len(chosen), np.zeros(0) if part.times is None else part.times[chosen], phase)


def stretch(rows: int, times: NDArray[np.float64], phase: str) -> Stretch:
    if not len(times):
        return Stretch(rows, phase=phase)
    return Stretch(rows, rfc3339(float(times[0])), rfc3339(float(times[-1])), phase)
