"""Anomalous rows as alarms: what begins, what lasts and what is over, row after row of one series.

An alarm begins with an anomalous row and is over after `CALM` rows without one, so scores that waver around
the threshold are one alarm and not one per row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

CALM = 10
"""So many rows in a row without an anomaly end an alarm."""
TOLD_EVERY = 1000
"""An alarm that lasts is reported again after so many more anomalous rows."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm as it stands after a batch of rows.

    `rows` have been anomalous, `before` of them in earlier batches; `score`, `time` and `row` (its place in
    the batch) are those of the highest row of the batch, or of the last batch that had one; `channels` are
    the shares of the row that was explained last. `calm` counts the rows since the last anomalous one.
    """

    rows: int = 0
    before: int = 0
    calm: int = 0
    score: float = float("-inf")
    row: int | None = None
    time: str = ""
    since: str = ""
    channels: Mapping[str, float] = field(default_factory=dict)

    @property
    def began(self) -> bool:
        return self.before == 0

    @property
    def ended(self) -> bool:
        return self.calm >= CALM

    @property
    def is_news(self) -> bool:
        """It began, it is over, or it has lasted for another `TOLD_EVERY` anomalous rows."""
        return self.began or self.ended or self.rows // TOLD_EVERY > self.before // TOLD_EVERY

    def carried(self) -> Alarm:
        """The alarm as the next batch finds it."""
        return replace(self, before=self.rows, row=None)


def follow(
    alarm: Alarm | None, flags: Sequence[bool], scores: Sequence[float], times: Sequence[str] = ()
) -> Iterator[Alarm]:
    """The alarms of a batch of rows, in order; only the last of them may still be open.

    `alarm` is the open one that the batches before have left, as `carried` says.
    """
    for place, (flag, score) in enumerate(zip(flags, scores, strict=True)):
        if flag:
            alarm = _grown(alarm or Alarm(), place, score, times[place] if times else "")
        elif alarm:
            alarm = replace(alarm, calm=alarm.calm + 1)
            if alarm.ended:
                yield alarm
                alarm = None
    if alarm:
        yield alarm


def _grown(alarm: Alarm, place: int, score: float, time: str) -> Alarm:
    changes: dict[str, Any] = {} if alarm.rows else {"since": time}
    if alarm.row is None or score > alarm.score:
        changes |= {"score": score, "row": place, "time": time}
    return replace(alarm, rows=alarm.rows + 1, calm=0, **changes)
