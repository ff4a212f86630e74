"""Events found, how late, and false alarms per day: the figures that whoever answers the alarms feels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ranges import ranges, row_by_row

DAY = 86_400.0
"""Seconds."""


@dataclass(frozen=True)
class EventWise:
    """Of `events` labelled ranges `found` had an alarm in them, `delays` rows after they began (one per found
    event). `false_alarms` counts unbroken runs of alarms that touch no event, among `rows` rows.

    However long a run is, it is one: how much of normal time is alarmed is told by the false-alarm rate,
    without which these figures flatter whoever always cries.
    """

    events: int
    found: int
    false_alarms: int
    delays: NDArray[np.int64]
    rows: int

    def median_delay(self) -> float | None:
        """In rows; None when nothing was found."""
        return float(np.median(self.delays)) if self.found else None

    def mean_delay(self) -> float | None:
        """In rows; None when nothing was found."""
        return float(self.delays.mean()) if self.found else None

    def false_alarms_per_day(self, period: float) -> float:
        """At one row every `period` seconds. ValueError for a period that is not above 0."""
        if not period > 0:
            raise ValueError(f"period is {period}: give the seconds between two rows, above 0")
        return self.false_alarms / (self.rows * period / DAY)


def event_wise(alarms: NDArray[Any], labels: NDArray[Any]) -> EventWise:
    """(n,) alarms against the labelled ranges of (n,) labels, above 0 being anomalous. O(n).

    >>> found = event_wise(np.array([1, 0, 0, 1, 0, 1]), np.array([0, 0, 1, 1, 0, 1]))
    >>> found.events, found.found, found.false_alarms, found.delays.tolist()
    (2, 2, 1, [1, 0])
    """
    alarm, truth = row_by_row(alarms, labels)
    if not len(alarm):
        raise ValueError("alarms and labels are empty: give at least one row")
    starts, stops = ranges(truth)
    # The first alarmed row at or after each event's start; the row past the end stands for none.
    alarmed = np.append(np.flatnonzero(alarm), len(alarm))
    first = alarmed[np.searchsorted(alarmed, starts)]
    found = first < stops
    begins, ends = ranges(alarm)
    anomalous = np.concatenate([[0], np.cumsum(truth)])
    return EventWise(
        events=len(starts),
        found=int(found.sum()),
        false_alarms=int((anomalous[ends] == anomalous[begins]).sum()),
        delays=(first - starts)[found],
        rows=len(alarm),
    )
