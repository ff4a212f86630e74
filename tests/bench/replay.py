"""A labelled stream, replayed in order of time: scored before it teaches, by revisions of one detector.

A score is told as how far it is above its revision's threshold, so that those of several revisions pool. What
is learnt from rows is a revision and counts as a retrain; the median of the last 1,000 rows is a filter. A
window holds 10 rows, 80 values, so that the 200 rows which a new regime is known by outnumber them twice.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from homeostat.functions.spec import Spec
from homeostat.models import artifact, baseline, fitted, memory
from homeostat.models.alarms import trailing_mean
from homeostat.models.drift_window import WindowTest
from homeostat.models.drift_words import Settings
from homeostat.models.simulator import CHANNELS
from homeostat.pipelines import steps

ALGORITHM = "mahalanobis"
MEMORY = 1_000  # rows; SKAB's longest fault lasts 586, and any length from 1,000 to 2,000 does
SMOOTHED = 20
HORIZON = 1_000  # rows that a threshold should hold for
BORDER = 3.5  # seconds: `alignment` fills shorter gaps

SPEC = Spec.model_validate(
    {
        "data": {"uri": "/skab/", "channels": list(CHANNELS)},
        "features": {"window": 10},
        "candidates": [ALGORITHM],
        "drift": {"window": 300, "every": 100, "consecutive": 2},
        "retrain": {"min_drift_rows": 200, "min_new_rows": 10**9, "budget_per_day": 4},
    }
)
DOCUMENT = SPEC.model_dump(mode="json")


@dataclass(frozen=True)
class Stream:
    """(n, c) raw rows in order of time, their labels, times, and (n,) segments; `first` rows come before the
    replay, all normal."""

    rows: NDArray[np.float64]
    labels: NDArray[np.bool_]
    times: pd.DatetimeIndex
    segments: NDArray[np.int64]
    first: int

    @classmethod
    def of(cls, frames: list[pd.DataFrame]) -> Stream:
        """Runs one after another; one that overlaps its neighbour's times by seconds is not torn apart."""
        whole = pd.concat(frames, ignore_index=True)
        gaps = whole["datetime"].diff().dt.total_seconds().to_numpy()
        return cls(
            whole[list(CHANNELS)].to_numpy(float),
            whole["anomaly"].fillna(0).to_numpy() > 0,
            pd.DatetimeIndex(whole["datetime"]).tz_localize(UTC),
            np.cumsum(gaps > BORDER),
            len(frames[0]),
        )


@dataclass
class Loop:
    """One replay of a stream. `followed` is what the detector sees: rows less their median, or as is."""

    stream: Stream
    follow: bool = True
    trained: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        stream = self.stream
        self.regimes = baseline.regimes(stream.rows, MEMORY, stream.segments)
        self.followed = (
            baseline.relative(stream.rows, MEMORY, stream.segments) if self.follow else stream.rows
        )
        self.scores = np.full(len(stream.rows), -np.inf)
        self.teaches = np.ones(len(stream.rows), bool)
        self.old: tuple[NDArray[Any], ...] = ()
        self._known: list[tuple[fitted.Fitted, str, WindowTest]] = []
        self._folder = tempfile.TemporaryDirectory()
        self.begun, self.uri = 0, ""
        self.train(0, stream.first)

    def train(self, start: int, stop: int) -> None:
        """A revision of the rows from `start` to `stop`, less those that the serving one keeps out."""
        frame = pd.DataFrame(self.followed[start:stop], columns=list(CHANNELS))
        screened, _ = steps.screen(frame, DOCUMENT, self.uri if start < self.begun else "")
        self.teaches[start:stop] = screened["teaches"]
        learn = np.flatnonzero(self.teaches[start:stop]) + start
        pieces = self.stream.segments[learn] + np.cumsum(np.diff(learn, prepend=learn[0]) > 1)
        model = _fit(self.followed[learn], pieces)
        lift = 0.0
        if self.follow:
            lift = memory.rehearsed_lift(
                self.old, _rehearse, min(len(learn), HORIZON), HORIZON, SPEC.gate.max_false_alarm_rate
            )
            normal = memory.unbroken(self.stream.rows[start:stop], self.teaches[start:stop])
            self.old = memory.kept(self.old, normal)
        # What is served is what screens the next training, so the lifted threshold is the revision's own.
        self.model = replace(model, threshold=model.threshold + lift, smoothing=SMOOTHED)
        self.uri = str(Path(self._folder.name) / str(stop))
        artifact.save(self.model, self.uri, {})
        self.test = _test(self.stream.rows[learn])
        self._known.append((self.model, self.uri, self.test))
        self.trained.append(stop)
        self.begun = stop

    def answer(self, start: int, stop: int) -> None:
        """Drift: the machine that came back as it once was gets the revision of that time back, and another
        one is trained on. Either counts as a retrain."""
        newest = self.stream.rows[max(start, stop - SPEC.drift.window) : stop]
        came_back = [one for one in self._known if not one[2].test(newest).drifted]
        if start >= self.begun and came_back:
            self.model, self.uri, self.test = came_back[-1]
            self.trained.append(stop)
            self.begun = stop
        else:
            self.train(start, stop)

    def score(self, start: int, stop: int) -> None:
        """With as many rows before them as a tail would hold, all of one regime."""
        past = max(start - SPEC.features.window - SMOOTHED, self.regime(start))
        found = self.model.score(self.followed[past:stop], self.stream.segments[past:stop])
        self.scores[start:stop] = found[start - past :] - self.model.threshold

    def drift_test(self, row: int, seen: int) -> WindowTest:
        """Against what the median has followed, the last rows before those `seen`, once there are enough of
        this regime that the revision knows; until then against what the revision was trained on."""
        begin = max(self.regime(row), seen - MEMORY)
        known = self.begun > self.regime(row) and seen - begin >= SPEC.retrain.min_drift_rows
        return _test(self.stream.rows[begin:seen]) if known else self.test

    def regime(self, row: int) -> int:
        """Where the regime of a row began."""
        return max(one for one in self.regimes if one <= row)

    def blocks(self, every: int) -> Iterator[tuple[int, int]]:
        """Steps of `every` rows; a regime begins a new one."""
        edges = [self.stream.first, *(one for one in self.regimes if one > self.stream.first)]
        for start, stop in zip(edges, [*edges[1:], len(self.scores)], strict=True):
            yield from ((one, min(one + every, stop)) for one in range(start, stop, every))


def _test(reference: NDArray[Any]) -> WindowTest:
    return WindowTest.against(reference, CHANNELS, Settings(window=SPEC.drift.window, follows=True))


def _fit(rows: NDArray[Any], segments: NDArray[np.int64]) -> fitted.Fitted:
    return steps.fit(ALGORITHM, rows, segments, DOCUMENT, {}, seed=0)


def _rehearse(rows: NDArray[Any], count: int) -> tuple[NDArray[np.float64], float]:
    followed = baseline.relative(rows, MEMORY)
    model = _fit(followed[:count], np.zeros(count, np.int64))
    return trailing_mean(model.score(followed), SMOOTHED)[count:], model.threshold
