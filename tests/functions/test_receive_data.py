"""Batches are recorded once, in whatever order storage announces them."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.messages import DataLanded, TrainingRequested
from homeostat.functions.detector import Batch
from homeostat.functions.receive_data import MAX_BATCHES, decide, newest
from tests.functions.detectors import MINUTE, NOON, batch, detector, later, none, only, remembered, spec

LANDED = DataLanded(uri="s3://plant/pump/a.csv")


def test_a_batch_adds_its_rows() -> None:
    before = detector(batches=(), new_rows=0)
    status = remembered(decide(LANDED, before, batch(rows=40)), before)
    assert status.new_rows == 40
    assert [one.uri for one in status.batches] == ["s3://plant/pump/a.csv"]


def test_training_is_asked_for_once_enough_new_rows_are_there() -> None:
    before = detector(asked=spec(retrain={"min_new_rows": 100}), batches=(), new_rows=60)
    assert none(TrainingRequested, decide(LANDED, before, batch(rows=39)))
    request = only(TrainingRequested, decide(LANDED, before, batch(rows=40)))
    assert request.trigger == "data"
    assert request.reason == "100 new rows"
    assert not request.force


def test_a_batch_announced_twice_counts_once() -> None:
    before = detector(batches=(batch(rows=40, etag="x"),), new_rows=40)
    assert list(decide(LANDED, before, batch(rows=40, etag="x"))) == []


def test_a_new_version_replaces_the_old_one() -> None:
    before = detector(batches=(batch(rows=40, etag="x"),), new_rows=0)
    status = remembered(decide(LANDED, before, batch(rows=50, etag="y")), before)
    assert [one.rows for one in status.batches] == [50]
    assert status.new_rows == 50


def test_an_older_version_that_arrives_late_changes_nothing() -> None:
    before = detector(batches=(batch(etag="new", sequencer="0055B"),), new_rows=0)
    assert list(decide(LANDED, before, batch(etag="old", sequencer="0055A"))) == []


def test_sequencers_are_compared_padded_on_the_right() -> None:
    before = detector(batches=(batch(etag="new", sequencer="0055"),), new_rows=0)
    assert list(decide(LANDED, before, batch(etag="old", sequencer="005499"))) == []
    assert list(decide(LANDED, before, batch(etag="newer", sequencer="005501")))
    padded = detector(batches=(batch(etag="new", sequencer="005500"),), new_rows=0)
    assert list(decide(LANDED, padded, batch(etag="same time", sequencer="0055"))), "not older: equal"


def test_another_objects_sequencer_does_not_count() -> None:
    before = detector(batches=(batch("a.csv", sequencer="99"),), new_rows=0)
    assert list(decide(LANDED, before, batch("b.csv", sequencer="01")))


def test_the_newest_batches_win_and_the_one_that_crosses_the_limit_stays() -> None:
    batches = [batch(f"{n}.csv", rows=40, landed=NOON + n * MINUTE) for n in range(5)]
    assert [one.uri[-5] for one in newest(batches, 100)] == ["2", "3", "4"]


def test_batches_that_landed_together_keep_their_order_and_the_last_one_wins() -> None:
    batches = [batch(f"{n}.csv", rows=40) for n in range(4)]
    assert newest(batches, 1000) == tuple(batches)
    assert newest(batches, 40) == tuple(batches[3:])


def test_a_status_keeps_a_bounded_number_of_batches() -> None:
    batches = [batch(f"{n}.csv", rows=1, landed=NOON + n * MINUTE) for n in range(MAX_BATCHES + 5)]
    assert newest(batches, 10**9) == tuple(batches[5:])


BATCHES = st.lists(
    st.builds(
        lambda name, etag, rows, minute: batch(f"{name}.csv", rows, str(etag), landed=NOON + minute * MINUTE),
        st.integers(0, 5),
        st.integers(0, 3),
        st.integers(1, 100),
        st.integers(0, 1000),
    ),
    max_size=20,
)


@given(BATCHES, st.integers(1, 300))
def test_batches_stay_unique_ordered_and_no_more_than_needed(batches: list[Batch], max_rows: int) -> None:
    one = detector(asked=spec(retrain={"max_rows": max_rows}), batches=(), new_rows=0)
    for arrived in batches:
        one = later(one, decide(LANDED, one, arrived), timedelta(0))
    kept = one.status.batches
    assert len({each.uri for each in kept}) == len(kept)
    assert list(kept) == sorted(kept, key=lambda each: each.landed)
    assert sum(each.rows for each in kept[1:]) < max_rows
    assert bool(kept) == bool(batches)
