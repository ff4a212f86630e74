"""An alarm's beginning and end are events, and what is between them seldom is."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.messages import AnomalyDetected, KafkaRecord, SamplesReceived
from homeostat.functions.alarms import CALM, TOLD_EVERY, Alarm, follow
from homeostat.functions.score_stream import StreamFacts, decide
from tests.functions.detectors import detector, revision

SAMPLES = SamplesReceived(rows=[[1.0]])
SERVING = detector(serving=revision("r1"))


def facts(*alarms: Alarm) -> StreamFacts:
    return StreamFacts(series="line-3", revision="r1", threshold=0.5, alarms=alarms)


def told(alarms: Iterable[Alarm]) -> list[AnomalyDetected]:
    messages = list(decide(SAMPLES, SERVING, facts(*alarms)))
    events = [one for one in messages if isinstance(one, AnomalyDetected)]
    assert len(events) == len(messages), "no status is remembered: streams never race for it"
    return events


@pytest.mark.parametrize("event", [SAMPLES, KafkaRecord(value={"Current": 1.0})])
@pytest.mark.parametrize("stream", [None, facts()])
def test_calm_rows_and_rows_that_nothing_scored_say_nothing(event: object, stream: object) -> None:
    assert list(decide(event, SERVING, stream)) == []  # type: ignore[arg-type]


def test_an_alarm_is_told_with_everything_that_people_ask_first() -> None:
    shares = {"Current": 0.8, "Pressure": 0.2}
    alarm = Alarm(rows=3, score=0.9, row=4, time="08:04", since="08:02", channels=shares)
    (event,) = told([alarm])
    assert event == AnomalyDetected(
        score=0.9,
        threshold=0.5,
        revision="r1",
        series="line-3",
        channels=shares,
        began=True,
        ended=False,
        rows=3,
        row=4,
        time="08:04",
        since="08:02",
    )


def test_an_alarm_that_lasts_is_told_seldom_and_its_end_once() -> None:
    assert told([Alarm(rows=9, before=5)]) == []
    assert [one.rows for one in told([Alarm(rows=TOLD_EVERY, before=TOLD_EVERY - 1)])] == [TOLD_EVERY]
    (end,) = told([Alarm(rows=9, before=9, calm=CALM, score=1.0)])
    assert (end.began, end.ended, end.row) == (False, True, None)


def test_alarms_of_one_event_are_told_in_their_order() -> None:
    flags = [True, *[False] * CALM, True, True]
    events = told(follow(None, flags, [1.0] * len(flags)))
    assert [(one.began, one.ended, one.rows) for one in events] == [(True, True, 1), (True, False, 2)]


@given(st.lists(st.lists(st.booleans(), max_size=40), max_size=30))
def test_every_alarm_that_is_told_to_begin_is_told_to_end_before_the_next(parts: list[list[bool]]) -> None:
    open_now, alarm = False, None
    for part in [*parts, [False] * CALM]:
        alarms = list(follow(alarm, part, [1.0] * len(part)))
        alarm = alarms[-1].carried() if alarms and not alarms[-1].ended else None
        for event in told(alarms):
            assert event.began != open_now
            open_now = not event.ended
    assert not open_now
