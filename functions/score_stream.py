"""Decide which verdicts on a stream's rows are worth an event.

The host keeps each series' rows, has them scored by the revision that serves, and hands in the alarms that
the event's rows belong to. People and machines hear when an alarm begins, when it is over, and every
`alarms.TOLD_EVERY` anomalous rows while it lasts: a fault of an hour is a handful of events, not 3,600.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from homeostat.eventing.messages import AnomalyDetected, KafkaRecord, SamplesReceived

from .alarms import Alarm
from .detector import Detector, Message


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What the event's rows were found to be: the alarms that they belong to, in the order of time."""

    series: str
    revision: str
    threshold: float
    alarms: tuple[Alarm, ...] = ()


def decide(
    event: SamplesReceived | KafkaRecord, detector: Detector, stream: StreamFacts | None
) -> Iterable[Message]:
    if stream is None:  # nothing serves yet
        return
    for alarm in stream.alarms:
        if alarm.is_news:
            yield AnomalyDetected(
                score=alarm.score,
                threshold=stream.threshold,
                revision=stream.revision,
                series=stream.series,
                channels=alarm.channels,
                began=alarm.began,
                ended=alarm.ended,
                rows=alarm.rows,
                row=alarm.row,
                time=alarm.time,
                since=alarm.since,
            )
