"""The last rows of each series that a predictor scores, so that a client sends a new row and no more."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]

MAX_SERIES = 10_000
MAX_BYTES = 256 * 1024 * 1024
IDLE_SECONDS = 3600.0


class Tails:
    """The last `tail` rows of each series, or those that `keep` chooses once there are more, of the series
    that were used last.

    A series is forgotten, and starts anew with its next row, when nothing came for `idle` seconds or when
    others push it out: more than `series` of them, or more than `nbytes` bytes of rows. Nothing is shared
    between processes: with several replicas, or while a canary takes a share of the traffic, a series must
    be routed to one of them by its name, or each of them sees it with gaps.
    """

    def __init__(
        self,
        tail: int,
        series: int = MAX_SERIES,
        nbytes: int = MAX_BYTES,
        idle: float = IDLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        keep: Callable[[Rows], NDArray[np.int64]] | None = None,
    ) -> None:
        self.tail, self._most, self._most_bytes, self._idle, self._clock = tail, series, nbytes, idle, clock
        self._keep = keep
        self._kept: OrderedDict[str, tuple[float, Rows]] = OrderedDict()  # the one used last at the end
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def nbytes(self) -> int:
        """Of all rows that are kept."""
        return self._bytes

    def extend(self, series: str, rows: Rows, reset: bool = False) -> Rows:
        """What is kept of the series' past, and then the (n, c) new rows, which become past.

        `reset` forgets the past first: after a gap in time, its rows would be no neighbours of the new ones.
        """
        now = self._clock()
        self._forget_idle(now)
        past = self._drop(series)
        whole = rows if past is None or reset else np.concatenate([past, rows])
        if self.tail:
            latest = slice(-self.tail, None)
            chosen = self._keep(whole) if self._keep and len(whole) > self.tail else latest
            kept = np.array(whole[chosen])  # a copy: a view would keep the whole request alive
            self._kept[series] = (now, kept)
            self._bytes += kept.nbytes
            while len(self._kept) > self._most or self._bytes > self._most_bytes:
                self._drop(next(iter(self._kept)))
        return whole

    def forget(self, series: str) -> None:
        """The series starts anew with its next row."""
        self._drop(series)

    def _drop(self, series: str) -> Rows | None:
        _, rows = self._kept.pop(series, (0.0, None))
        self._bytes -= 0 if rows is None else rows.nbytes
        return rows

    def _forget_idle(self, now: float) -> None:
        while self._kept:
            series, (used, _) = next(iter(self._kept.items()))
            if now - used <= self._idle:
                return
            self._drop(series)
