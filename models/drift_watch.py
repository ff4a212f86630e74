"""One stream against its reference, as rows arrive: when a test is due, and what it says."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import drift_online as online
from .choices import DriftStream
from .drift_part import Part
from .drift_rows import moved_most
from .drift_window import WindowTest, of_reference, stretch
from .drift_words import Settings, Verdict


class Watch:
    """Keeps the last `settings.window` rows."""

    def __init__(self, on: DriftStream, channels: tuple[str, ...], part: Part, settings: Settings) -> None:
        self._on, self._channels, self._part, self._settings = on, channels, part, settings
        self._rows = part.rows[:0]
        self._times = np.zeros(0)
        self._seen, self._tested = 0, -1
        self._highest, self._beyond = -1.0, False
        self._online = part.test in online.NAMES
        self._points, self._count = part.rows[:0], 0
        self._batch = WindowTest(on, channels, part, settings)
        self._row_by_row: online.OnlineTest | None = None

    def take(self, raw: NDArray[np.float64], times: NDArray[np.float64]) -> Verdict | None:
        """The verdict that (m, c) raw rows make due, if they do."""
        begun = time.perf_counter()
        rows = self._part.scale.transform(raw)
        window = self._settings.window
        if self._online:
            self._push(rows)
        self._rows = np.concatenate([self._rows, rows])[-window:]
        self._times = np.concatenate([self._times, times])[-window:]
        self._seen += len(rows)
        fresh = self._seen - max(self._tested, 0)
        if not len(rows) or len(self._rows) < window or (self._tested >= 0 and fresh < self._settings.every):
            return None
        if self._online and self._count < online.POINTS:
            return None
        self._tested = self._seen
        return self._of_points(begun) if self._online else self._batch.scaled(self._rows, self._times)

    def _push(self, rows: NDArray[np.float32]) -> None:
        step = online.stride(self._settings.window)
        test = self._test()
        for point in rows[-self._seen % step :: step]:
            distances, beyond = test.push(point)
            statistic = self._part.statistic(distances)
            self._highest = max(self._highest, statistic)
            self._beyond |= beyond and statistic > self._part.threshold
        self._count = test.count
        self._points = np.array(test.points, np.float32).reshape(-1, rows.shape[1])

    def _test(self) -> online.OnlineTest:
        if self._row_by_row is None:
            part = self._part
            test = online.settled(part.test, part.sample, self._settings.seed, part.arrays)
            test.resume(self._count, self._points)
            self._row_by_row = test
        return self._row_by_row

    def _of_points(self, begun: float) -> Verdict:
        part = self._part
        highest, beyond = self._highest, self._beyond
        self._highest, self._beyond = -1.0, False
        return Verdict(
            on=self._on,
            test=part.test,
            statistic=max(highest, 0.0),
            threshold=part.threshold,
            p_value=None,
            drifted=beyond,
            channels=moved_most(part.sample, self._rows, self._channels),
            correction="sidak" if part.test == "cvm-online" and len(self._channels) > 1 else "none",
            reference=of_reference(part, np.arange(len(part.rows)), part.why),
            tested=stretch(len(self._rows), self._times, ""),
            seconds=time.perf_counter() - begun,
        )

    def state(self) -> dict[str, NDArray[Any]]:
        return {
            "rows": self._rows,
            "times": self._times,
            "points": self._points,
            "numbers": np.array([self._seen, self._tested, self._count, self._beyond], np.int64),
            "highest": np.array([self._highest]),
        }

    def resume(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Raises LookupError or ValueError for what is no state of this reference."""
        self._rows, self._times, self._points = (state[one] for one in ("rows", "times", "points"))
        width = self._part.rows.shape[1]
        for rows in (self._rows, self._points):
            if rows.dtype != np.float32 or rows.ndim != 2 or rows.shape[1] != width:
                raise ValueError(f"the state has rows of shape {rows.shape} for {width} channels")
        if self._times.shape != (len(self._rows),) or len(self._rows) > self._settings.window:
            raise ValueError(f"the state has {len(self._rows)} rows and {len(self._times)} times")
        self._seen, self._tested, self._count, beyond = (int(one) for one in state["numbers"])
        self._beyond, self._highest = bool(beyond), float(state["highest"][0])
        self._row_by_row = None
