"""What is kept of each series of a stream: its last rows, its open alarm, and the events that wait for it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from homeostat.functions.alarms import Alarm
from homeostat.functions.samples import Samples
from homeostat.functions.score_stream import StreamFacts

Rows = NDArray[np.float64]

MAX_SERIES = 10_000
MAX_BYTES = 256 * 1024 * 1024


@dataclass
class Asked:
    """One event's rows, and where its facts are awaited."""

    key: tuple[str, str]
    samples: Samples
    rows: Rows
    answer: asyncio.Future[StreamFacts]


@dataclass
class Series:
    """`unsure`: what the revision keeps of the series may be something else than `past`."""

    detector: str
    name: str
    channels: tuple[str, ...]
    past: Rows
    unsure: bool = True
    alarm: Alarm | None = None
    waiting: deque[Asked] = field(default_factory=deque)
    work: asyncio.Task[None] | None = None


def recent(rows: Rows, tail: int) -> Rows:
    """The last rows among which `tail` lack no number, at most twice as many: a revision that drops rows with
    a gap needs the ones before them."""
    bounded = rows[max(0, len(rows) - 2 * tail) :]
    complete = np.isfinite(bounded).all(axis=1)[::-1].cumsum()
    length = int(np.searchsorted(complete, tail)) + 1 if tail else 0
    return bounded[max(0, len(bounded) - length) :]


class Kept:
    """The series that were used last: at most `most` of them, and `nbytes` bytes of their rows."""

    def __init__(self, most: int = MAX_SERIES, nbytes: int = MAX_BYTES) -> None:
        self._most, self._most_bytes = most, nbytes
        self._series: OrderedDict[tuple[str, str], Series] = OrderedDict()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._series)

    def find(self, detector: str, name: str, channels: tuple[str, ...]) -> Series:
        """The series, begun anew where it is not kept or had other channels."""
        found = self._series.get((detector, name))
        if found is None or found.channels != channels:
            self.nbytes -= found.past.nbytes if found else 0
            # A revision may know more of it than we do, from before this process began.
            found = Series(detector, name, channels, np.empty((0, len(channels))))
            self._series[detector, name] = found
        self._series.move_to_end((detector, name))
        return found

    def remember(self, series: Series, past: Rows) -> None:
        """The series' rows from now on; others are forgotten if it has grown too much."""
        before, series.past = series.past.nbytes, past
        if self._series.get((series.detector, series.name)) is not series:
            return  # begun anew meanwhile
        self.nbytes += past.nbytes - before
        while len(self._series) > self._most or self.nbytes > self._most_bytes:
            least = next((key for key, one in self._series.items() if one.work is None), None)
            if least is None:
                return
            self.nbytes -= self._series.pop(least).past.nbytes
