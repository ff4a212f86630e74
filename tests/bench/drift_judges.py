"""Who judges the streams: our monitor, and alibi-detect's detectors as they come."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray

from homeostat.models.drift_calibration import Calibration, calibrate
from homeostat.models.drift_channels import MOST_VALUES
from homeostat.models.drift_monitor import Monitor
from homeostat.models.drift_rows import REFERENCE_ROWS, evenly
from homeostat.models.drift_words import Settings
from homeostat.models.fitted import Fitted
from tests.bench.drift_streams import Stream

WINDOW, EVERY = 500, 100
ERROR_WINDOW = 200
RUN_TIME, POINTS = 400, 25  # of alibi-detect's online detectors, in rows
SCORES, ERRORS = "scores", "fisher"


class Judge(Protocol):
    def step(self, rows: NDArray[Any], at: int, wanted: bool) -> bool | None:
        """Whether the window that ends with these rows drifted; None where it was not tested. `at` is the
        number of the first."""

    def fork(self) -> Self:
        """One that goes on from here, and leaves this one where it is."""


@dataclass
class Ours:
    calibration: Calibration
    monitor: Monitor
    stream: Stream

    def step(self, rows: NDArray[Any], at: int, wanted: bool) -> bool | None:
        (on,) = self.calibration.settings.on
        times = (at + np.arange(len(rows))) * self.stream.step if self.stream.step else None
        if on == "features":
            found = self.monitor.update(rows, times=times)
        elif on == "scores":
            blank = np.zeros((len(rows), len(self.calibration.channels)))
            found = self.monitor.update(blank, scores=rows[:, 0], times=times)
        else:
            found = self.monitor.update(np.zeros((0, 1)), errors=rows[:, 0])
        return found[0].drifted if found else None

    def fork(self) -> Self:
        return type(self)(
            self.calibration, Monitor.restore(self.calibration, self.monitor.state()), self.stream
        )


def ours(stream: Stream, test: str, scores: Stream | None) -> Ours:
    judged = scores or stream
    special = {SCORES: "scores", ERRORS: "errors"}
    settings = Settings(
        test=cast(Any, "cvm" if test in special else test),
        on=(cast(Any, special.get(test, "features")),),
        window=WINDOW,
        every=EVERY,
        season="auto" if stream.step else None,
    )
    calibration = calibrate(
        cast(Fitted, SimpleNamespace(channels=stream.channels)),
        stream.known,
        times=np.arange(len(stream.known)) * stream.step if stream.step else None,
        settings=settings,
        scores=scores.known[:, 0] if scores else None,
        errors=stream.known[:, 0] if test == ERRORS else None,
    )
    return Ours(calibration, Monitor(calibration), judged)


@dataclass
class PlainBatch:
    detector: Any
    columns: list[int]
    window: int
    rows: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def step(self, rows: NDArray[Any], at: int, wanted: bool) -> bool | None:
        fresh = rows[:, self.columns].astype(np.float32)
        self.rows = np.concatenate([self.rows.reshape(-1, len(self.columns)), fresh])[-self.window :]
        if not wanted or len(self.rows) < self.window:
            return None
        return bool(self.detector.predict(self.rows)["data"]["is_drift"])

    def fork(self) -> Self:
        return copy.copy(self)


@dataclass
class PlainOnline:
    """Sees every row; a step drifted if any of its rows did."""

    detector: Any

    def step(self, rows: NDArray[Any], at: int, wanted: bool) -> bool | None:
        if not wanted:
            return None
        found = [self.detector.predict(row)["data"]["is_drift"] for row in rows.astype(np.float32)]
        return bool(any(found))

    def fork(self) -> Self:
        return copy.deepcopy(self)


def plain(stream: Stream, test: str) -> Judge:
    from alibi_detect import cd

    known = evenly(np.asarray(stream.known, np.float32), REFERENCE_ROWS)
    online = {"backend": "pytorch", "window_size": POINTS, "verbose": False}
    torch = {"backend": "pytorch"}
    columns = list(range(known.shape[1]))
    match test:
        case "mmd-online":
            return PlainOnline(cd.MMDDriftOnline(known, ert=RUN_TIME, **online))
        case "lsdd-online":
            return PlainOnline(cd.LSDDDriftOnline(known, ert=RUN_TIME, **online))
        case "cvm-online":
            return PlainOnline(
                cd.CVMDriftOnline(
                    known, ert=RUN_TIME, window_sizes=[POINTS], n_bootstraps=8_000, verbose=False
                )
            )
        case "chi2":
            columns = [j for j in columns if len(np.unique(known[:, j])) <= MOST_VALUES]
            return PlainBatch(cd.ChiSquareDrift(known[:, columns]), columns, WINDOW)
        case "fisher":
            whole = stream.known.astype(np.int64)
            return PlainBatch(cd.FETDrift(whole), columns, ERROR_WINDOW)
    made = {
        "mmd": lambda: cd.MMDDrift(known, **torch),
        "lsdd": lambda: cd.LSDDDrift(known, **torch),
        "ks": lambda: cd.KSDrift(known),
        "cvm": lambda: cd.CVMDrift(known),
        SCORES: lambda: cd.CVMDrift(known),
    }
    return PlainBatch(made[test](), columns, WINDOW)
