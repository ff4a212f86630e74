"""What a label says, checked: which rows it is about, and since when it is true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from homeostat.eventing.errors import Fault, Reject, shown
from homeostat.eventing.messages import LabelReceived

MOST_ROWS = 10_000
"""Of one inference request (`models.protocol.MAX_ROWS`)."""
RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Label:
    """Of the rows at the places `rows` (all, where there are none) of the inference request of that id; or of
    all that `series` was asked about from `start` until before `end`."""

    anomalous: bool
    request: str = ""
    rows: tuple[int, ...] = ()
    series: str = ""
    start: datetime | None = None
    end: datetime | None = None


def read(event: LabelReceived) -> Label:
    """Raises Reject with every fault of the label."""
    start, end = time_of(event.start), time_of(event.end)
    faults = list(_faults(event, start, end))
    if faults:
        raise Reject(faults)
    return Label(event.anomalous, event.request, tuple(sorted(set(event.rows))), event.series, start, end)


def time_of(text: str | None) -> datetime | None:
    """RFC 3339 in UTC; None for what is none."""
    if not text or not RFC3339.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _faults(event: LabelReceived, start: datetime | None, end: datetime | None) -> Iterator[Fault]:
    interval = bool(event.start or event.end)
    if not event.request and not interval:
        mend = "name the inference request's id, or give data.start and data.end"
        yield Fault("data.request", "missing", mend)
    if event.request and interval:
        mend = "name either the request or an interval, not both"
        yield Fault("data.request", shown(event.request), mend)
    if event.rows and not event.request:
        yield Fault("data.rows", shown(event.rows), "name the request whose rows these are in data.request")
    outside = [row for row in event.rows if not 0 <= row < MOST_ROWS]
    if outside:
        yield Fault(
            "data.rows", shown(outside[0]), f"give places from 0 to {MOST_ROWS - 1}, 0 being the first row"
        )
    if interval:
        for field, text, time in (("start", event.start, start), ("end", event.end, end)):
            if time is None:
                mend = "give a time as RFC 3339 writes it, such as 2026-11-24T13:00:00Z"
                yield Fault(f"data.{field}", shown(text) if text else "missing", mend)
        if start and end and end <= start:
            yield Fault("data.end", shown(event.end), f"give a time after data.start, {event.start}")
