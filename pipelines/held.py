"""The held-back rows that judge, as a file between the pipeline's steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Flags = NDArray[np.bool_]

MIN_ANOMALIES = 30
MIN_EVENTS = 3
"""Fewer labelled anomalous rows, or ranges of them, cannot tell a good candidate from a poor one."""


@dataclass(frozen=True)
class Held:
    """Rows that judge: (n, c) raw rows, NaN where a number is missing that is held, (n,) labels and segments,
    where the labels come from, and which rows are of the new regime (`regimes`)."""

    rows: Rows
    labels: Flags
    segments: NDArray[np.int64]
    judged_on: Literal["labels", "injected"]
    recent: Flags

    def save(self, path: str) -> None:
        columns = {"rows": self.rows, "labels": self.labels, "segments": self.segments, "recent": self.recent}
        with Path(path).open("wb") as file:
            np.savez(file, **columns, judged_on=[self.judged_on])

    @classmethod
    def load(cls, path: str) -> Held:
        with np.load(path, allow_pickle=False) as stored:
            judged_on: Literal["labels", "injected"] = (
                "labels" if stored["judged_on"][0] == "labels" else "injected"
            )
            # Before there were regimes, all rows were judged as one.
            recent = stored["recent"] if "recent" in stored else np.ones(len(stored["labels"]), bool)
            return cls(stored["rows"], stored["labels"], stored["segments"], judged_on, recent)


def enough(truth: Flags, segments: NDArray[np.int64]) -> bool:
    """Whether (n,) labels, in (n,) segments, are enough anomalies to judge by."""
    goes_on = truth[:-1] & (segments[1:] == segments[:-1])
    events = int((truth & ~np.append(False, goes_on)).sum()) if len(truth) else 0
    return bool(truth.sum() >= MIN_ANOMALIES and events >= MIN_EVENTS)
