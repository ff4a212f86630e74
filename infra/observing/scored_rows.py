"""What an answer says of the rows that were asked about, as it is kept until their labels come.

One byte per row: whether it was flagged (bit 0), and what its label says (bit 1: normal, bit 2: anomalous).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from homeostat.eventing.messages import InferenceResponse

FLAGGED, NORMAL, ANOMALOUS = 1, 2, 4
STREAM = "stream:"
"""Before the names of series that streams ask about (`infra.local.scorer`)."""
_ALARM = re.compile(rb"[\x01\x03\x05]+")


@dataclass(frozen=True, slots=True)
class Answered:
    """Which revision answered; `own` is the id that V2's client gave, `rows` one byte per row."""

    revision: str
    series: str
    own: str
    rows: bytes


def read(event: InferenceResponse) -> Answered | None:
    """None for what is no answer of our predictor's: it names its revision, and flags every row."""
    beside = event.parameters if isinstance(event.parameters, Mapping) else {}
    revision = event.revision or beside.get("revision")
    flags = _flags(event, event.threshold if event.threshold is not None else beside.get("threshold"))
    if not isinstance(revision, str) or not revision or not flags:
        return None
    series = event.series or beside.get("series") or ""
    own = event.id if isinstance(event.id, str) else ""
    return Answered(revision, str(series).removeprefix(STREAM)[:200], own[:200], bytes(flags))


def _flags(event: InferenceResponse, threshold: Any) -> list[bool] | None:
    if event.predictions is not None:
        found = [_flag(one, threshold) for one in event.predictions]
        return None if None in found else [bool(one) for one in found]
    outputs = {one.get("name"): one.get("data") for one in event.outputs or () if isinstance(one, Mapping)}
    data = outputs.get("anomaly")
    return [bool(one) for one in data] if isinstance(data, list) else None


def _flag(prediction: Any, threshold: Any) -> bool | None:
    """The predictor's own word, else what its threshold says of the score."""
    if not isinstance(prediction, Mapping):
        return None
    if isinstance(flag := prediction.get("anomaly"), bool):
        return flag
    score = prediction.get("score")
    numbers = all(isinstance(one, int | float) and math.isfinite(one) for one in (score, threshold))
    return score > threshold if numbers else None


def labelled(row: int, anomalous: bool) -> int:
    """The row's byte with that label."""
    return row & FLAGGED | (ANOMALOUS if anomalous else NORMAL)


@dataclass(slots=True)
class Counts:
    """What labels say of the rows of one revision."""

    caught: int = 0
    missed: int = 0
    false_alarms: int = 0
    passed: int = 0
    false_events: int = 0

    def add(self, parts: Iterable[bytes]) -> None:
        """Count the rows of one series, in the order in which they were answered. An alarm, an unbroken
        stretch of flagged rows, is false where labels say normal of some of it and anomalous of none."""
        rows = b"".join(parts)
        self.caught += rows.count(ANOMALOUS | FLAGGED)
        self.missed += rows.count(ANOMALOUS)
        self.false_alarms += rows.count(NORMAL | FLAGGED)
        self.passed += rows.count(NORMAL)
        alarms = (found.group() for found in _ALARM.finditer(rows))
        self.false_events += sum(
            NORMAL | FLAGGED in alarm and ANOMALOUS | FLAGGED not in alarm for alarm in alarms
        )
