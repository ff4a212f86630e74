"""Anomalous rows as alarms: one per stretch, however the rows were cut into batches."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from homeostat.functions.alarms import CALM, TOLD_EVERY, Alarm, follow

Y, N = True, False


def batches(flags: Sequence[Sequence[bool]]) -> list[Alarm]:
    """What every batch says, one after the other; each row scores its place in the whole."""
    said, alarm, start = [], None, 0
    for part in flags:
        found = list(follow(alarm, part, [float(start + i) for i in range(len(part))]))
        alarm = found[-1].carried() if found and not found[-1].ended else None
        said += found
        start += len(part)
    return said


def test_a_stretch_of_anomalous_rows_is_one_alarm_that_ends_once_it_has_been_calm() -> None:
    assert batches([[N, N]]) == []
    (alarm,) = batches([[N, Y, Y] + [N] * CALM])
    assert (alarm.began, alarm.ended, alarm.rows, alarm.row) == (True, True, 2, 2)
    (alarm,) = batches([[Y] + [N] * (CALM - 1)])
    assert (alarm.began, alarm.ended) == (True, False)


def test_scores_that_waver_around_the_threshold_are_one_alarm() -> None:
    (alarm,) = batches([[Y, N] * 50 + [N] * CALM])
    assert alarm.rows == 50


def test_an_alarm_goes_on_over_batches_and_is_news_when_it_begins_and_ends_only() -> None:
    said = batches([[Y]] * 50 + [[N]] * CALM + [[N]] * 5)
    assert [one.is_news for one in said] == [True] + [False] * (49 + CALM - 1) + [True]
    assert said[-1].rows == 50
    assert (said[-1].row, said[-1].score) == (None, 49.0), "it ended here; its rows came before"


def test_an_alarm_that_lasts_is_news_every_so_many_rows() -> None:
    said = batches([[Y] * 100] * (3 * TOLD_EVERY // 100))
    assert [one.rows for one in said if one.is_news] == [100, TOLD_EVERY, 2 * TOLD_EVERY, 3 * TOLD_EVERY]


def test_an_alarm_tells_the_highest_row_of_the_batch_and_its_times() -> None:
    (alarm,) = follow(None, [N, Y, Y, Y], [9, 2, 5, 3], ["a", "b", "c", "d"])
    assert (alarm.score, alarm.row, alarm.time, alarm.since) == (5, 2, "c", "b")
    (alarm,) = follow(alarm.carried(), [Y, Y], [1, 2], ["e", "f"])
    assert (alarm.score, alarm.row, alarm.time, alarm.since) == (2, 1, "f", "b")


FLAGS = st.lists(st.booleans() | st.sampled_from([N, N, N]), max_size=120)


@given(FLAGS, st.lists(st.integers(1, 30), max_size=120))
def test_however_rows_are_cut_into_batches_the_alarms_are_the_same(
    flags: list[bool], sizes: list[int]
) -> None:
    parts, rest = [], flags
    for size in sizes:
        parts.append(rest[:size])
        rest = rest[size:]
    whole, cut = batches([flags]), batches([*parts, rest])
    assert [one.rows for one in cut if one.ended] == [one.rows for one in whole if one.ended]
    assert sum(one.began for one in cut if one.rows > one.before) == len(whole)
    assert sum(one.rows - one.before for one in cut) == sum(flags), "every anomalous row is counted once"
    assert sum(one.began or one.ended for one in cut) <= sum(one.is_news for one in cut)
