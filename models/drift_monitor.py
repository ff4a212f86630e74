"""The newest rows against a calibration, as they arrive."""

from __future__ import annotations

import io
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .drift_calibration import Calibration
from .drift_words import Stretch, Verdict


class Monitor:
    """Takes rows in the order of time and tells when they drift. alibi-detect is loaded by the first test
    that is due (`drift.load_backend` does it earlier). Memory is bounded by the window. Not thread-safe."""

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self._rows = np.zeros((0, len(calibration.channels)), np.float32)
        self._seen, self._tested = 0, -1
        self._test: Any = None

    def update(
        self,
        rows: NDArray[Any],
        scores: NDArray[Any] | None = None,
        errors: NDArray[Any] | None = None,
        times: NDArray[Any] | None = None,
    ) -> tuple[Verdict, ...]:
        """The verdicts that (m, c) raw rows, their (m,) scores and times (POSIX seconds, NaN where unknown)
        make due, none or one for each of `on`. (k,) errors, 0 or 1, are of whichever rows were labelled
        since; rows may then be (0, c). Raises ValueError, naming the fault, for input that is not finite."""
        from .drift import DriftTest

        settings = self._calibration.settings
        self._rows = np.concatenate([self._rows, np.asarray(rows, np.float32)])[-settings.window :]
        self._seen += len(rows)
        if self._seen < settings.window or not len(rows):
            return ()
        if self._tested >= 0 and self._seen - self._tested < settings.every:
            return ()
        self._tested = self._seen
        if self._test is None:
            self._test = DriftTest(
                self._calibration.rows,
                self._calibration.channels,
                test=settings.test,
                p_value=settings.p_value,
                window=settings.window,
                follows=settings.follows,
                seed=settings.seed,
            )
        found = self._test.test(self._rows)
        return (
            Verdict(
                on="features",
                test=settings.test,
                statistic=found.statistic,
                threshold=found.threshold,
                p_value=found.p_value,
                drifted=found.drifted,
                channels=found.channels,
                correction=settings.correction,
                reference=Stretch(len(self._calibration.rows)),
                tested=Stretch(len(self._rows)),
                seconds=found.seconds,
            ),
        )

    def state(self) -> bytes:
        """What `restore` needs to go on as if nothing had happened, to the bit."""
        buffer = io.BytesIO()
        np.savez(buffer, rows=self._rows, progress=np.array([self._seen, self._tested]))
        return buffer.getvalue()

    @classmethod
    def restore(cls, calibration: Calibration, state: bytes) -> Self:
        """Raises ValueError for a state that is not of this calibration."""
        one = cls(calibration)
        with np.load(io.BytesIO(state), allow_pickle=False) as held:
            one._rows = held["rows"]
            one._seen, one._tested = (int(number) for number in held["progress"])
        return one
