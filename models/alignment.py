"""Rows with times become rows on a grid, one for each period; where too many are missing a segment begins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .features import Segments
from .localtime import to_utc

if TYPE_CHECKING:
    import pandas as pd

_LARGEST_FILLED_GAP = 3  # periods


@dataclass(frozen=True)
class Aligned:
    """Rows on the grid, and what was done to bring them there (counts of rows).

    `segments` is (n,), one number per unbroken stretch; `phase` is (n,) too, each row's time in periods
    since 1970 in UTC, rounded. `unreadable_times` were dropped; `moved` came after a later row; of rows with
    one time (`duplicates`), as of rows with one place on the grid (`merged`), the last was kept; `snapped`
    were put on the grid; `filled` repeat the row before them. `repeated` and `skipped` lay in the hours that
    a change of clocks repeats and leaves out.
    """

    frame: pd.DataFrame
    segments: Segments
    phase: NDArray[np.int64]
    unreadable_times: int
    moved: int
    duplicates: int
    merged: int
    snapped: int
    filled: int
    repeated: int
    skipped: int

    def __str__(self) -> str:
        return (
            f"{len(self.frame)} rows in {len(np.unique(self.segments))} segments; "
            f"{self.unreadable_times} without a readable time dropped, {self.moved} out of order, "
            f"{self.duplicates} duplicates and {self.merged} within a period of another dropped, "
            f"{self.snapped} put on the grid, {self.filled} filled forward, "
            f"{self.repeated} in a repeated and {self.skipped} in a skipped hour"
        )


def align(frame: pd.DataFrame, time: str, period: timedelta, *, timezone: str | None = None) -> Aligned:
    """Sorts by the column `time`, puts the rows on a grid of `period` and makes gaps explicit.

    Times that jitter are put on the nearest place of the grid, at most half a period away; the grid lies
    where most rows do. Of rows with one time the last wins, and of those with one place on the grid the
    latest. A gap of up to three periods is filled forward; a longer one starts a new segment, which no
    window will cross. Naive times are local to `timezone`, see `to_utc`; what comes out is in UTC. Rows
    whose time cannot be read are dropped and counted. The order of the rows does not matter, but among rows
    of one time; aligning twice changes nothing.

    Raises ValueError when there is no such column, no such time zone, or the period is not above 0.
    """
    import pandas as pd

    if time not in frame.columns:
        raise ValueError(f"no column {time!r} for the time: the columns are {', '.join(map(str, frame))}")
    if period <= timedelta(0):
        raise ValueError(f"period is {period}: give a length of time above 0")
    utc = to_utc(frame[time], timezone)
    readable = frame.assign(**{time: utc.times})[utc.times.notna()]
    moved = int((readable[time].diff() < pd.Timedelta(0)).sum())
    ordered = readable.sort_values(time, kind="stable")
    single = ordered.drop_duplicates(time, keep="last")
    stamps = single[time].to_numpy("datetime64[ns]").astype(np.int64)
    step = pd.Timedelta(period).value
    places = _on_grid(stamps, step)
    latest = np.append(places[1:] != places[:-1], True)[: len(places)]
    kept = single[latest].assign(**{time: pd.to_datetime(places[latest], utc=True)})
    filled, segments = _fill(kept, time, step, places[latest])
    return Aligned(
        filled,
        segments,
        (filled[time].to_numpy("datetime64[ns]").astype(np.int64) + step // 2) // step,
        unreadable_times=len(frame) - len(readable),
        moved=moved,
        duplicates=len(ordered) - len(single),
        merged=int((~latest).sum()),
        snapped=int((places[latest] != stamps[latest]).sum()),
        filled=len(filled) - len(kept),
        repeated=utc.repeated,
        skipped=utc.skipped,
    )


def _on_grid(stamps: NDArray[np.int64], step: int) -> NDArray[np.int64]:
    """The nearest places on the grid for sorted times, all in nanoseconds.

    The grid runs through that row whose remainder lies nearest to the circular mean of all remainders (one
    second past the minute and one before are two apart, not 58). As it is a row's own, not the mean itself,
    rows on a grid stay where they are to the nanosecond.
    """
    if not len(stamps):
        return stamps
    rest = stamps % step
    angle = 2 * np.pi * (rest / step)
    mean = np.arctan2(np.sin(angle).sum(), np.cos(angle).sum()) / (2 * np.pi)
    away = np.abs((rest / step - mean + 0.5) % 1 - 0.5)
    anchor = int(rest[np.lexsort((rest, away))[0]])
    places: NDArray[np.int64] = (stamps - anchor + step // 2) // step * step + anchor
    return places


def _fill(
    frame: pd.DataFrame, time: str, step: int, places: NDArray[np.int64]
) -> tuple[pd.DataFrame, Segments]:
    """Repeats a row for each period that passes before the next one, unless a segment begins there."""
    import pandas as pd

    gap = np.diff(places) // step
    border = gap > _LARGEST_FILLED_GAP
    wait = np.append(np.where(border, 1, gap), 1)[: len(places)]
    source = np.repeat(np.arange(len(frame)), wait)
    late = np.arange(len(source)) - np.repeat(np.cumsum(wait) - wait, wait)
    filled = frame.iloc[source].reset_index(drop=True)
    filled[time] = filled[time] + pd.to_timedelta(late * step)
    return filled, np.cumsum(np.append(0, border))[: len(places)][source].astype(np.int64)
