"""Labels find the rows that were answered: late, early, partial, corrected, told twice, after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from homeostat.eventing.codec import Context
from homeostat.eventing.errors import Reject
from homeostat.eventing.messages import CanaryTick, InferenceResponse, LabelReceived
from homeostat.functions.detector import Detector, Quality, RevisionFigures
from homeostat.functions.take_label import QualityFacts
from homeostat.infra.observing import scored_rows
from homeostat.infra.observing.label_bounds import Limits
from homeostat.infra.observing.labels import LabelObserver
from tests.functions.detectors import NOON, detector, revision, spec

T = TypeVar("T")
HOUR = timedelta(hours=1)


class Desk:
    """An observer with its clock: what it is told, and what it finds on a tick."""

    def __init__(self, db: Path, limits: Limits | None = None) -> None:
        async def counters(_: Detector) -> RevisionFigures:
            return RevisionFigures(rows=7)

        self.registry = CollectorRegistry()
        self.observer = LabelObserver(db, counters, self.registry, limits)
        self.now, self._number = NOON, 0

    def pump(self) -> Detector:
        asked = spec(data={"uri": "s3://plant/", "channels": ["Current"], "period": "60s"})
        return detector(self.now, asked=asked, serving=revision("r1"), previous=revision("r0"))

    async def answer(
        self, request: str, flags: str, by: str = "r1", series: str = "", at: datetime | None = None
    ) -> None:
        """`flags` has a letter for each row, `!` where it was flagged."""
        predictions = [{"score": 0.1, "anomaly": one == "!"} for one in flags]
        event = InferenceResponse(predictions=predictions, revision=by, series=series or None)
        await self.observer.observe(event, self._context(request, at), self.pump())

    async def label(self, anomalous: bool, at: datetime | None = None, id: str = "", **fields: Any) -> None:
        self._number += 1
        event = LabelReceived(anomalous=anomalous, **fields)
        await self.observer.observe(event, self._context(id or f"l{self._number}", at), self.pump())

    async def look(self) -> QualityFacts:
        found = await self.observer.observe(CanaryTick(), self._context("t", None), self.pump())
        assert found is not None
        return found

    async def counts(self, name: str = "r1") -> tuple[int, int, int, int]:
        """Caught, missed, false alarms, passed."""
        one = (await self.look()).quality.get(name, Quality(measured=NOON))
        return one.caught, one.missed, one.false_alarms, one.passed

    def _context(self, identity: str, at: datetime | None) -> Context:
        return Context(
            id=identity,
            source="http://kserve/",
            type="t",
            subject="pump",
            correlationid=identity,
            time=(at or self.now).isoformat(),
        )


Play = Callable[[Callable[[Desk], Coroutine[Any, Any, T]]], T]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "labels.db"


@pytest.fixture
def play(db: Path) -> Play[Any]:
    return lambda story: on(db, story)


def on(db: Path, story: Callable[[Desk], Coroutine[Any, Any, T]], limits: Limits | None = None) -> T:
    async def whole() -> T:
        desk = Desk(db, limits)
        try:
            return await story(desk)
        finally:
            await desk.observer.close()

    return asyncio.run(whole())


def test_rows_of_a_request_by_their_places(play: Play[Any]) -> None:
    async def story(desk: Desk) -> None:
        await desk.answer("a", "..!!.")
        await desk.label(True, request="a", rows=(1, 2))
        await desk.label(False, request="a", rows=(3, 4))
        assert await desk.counts() == (1, 1, 1, 1)

    play(story)


def test_a_label_that_comes_days_later_or_before_its_rows_counts_the_same(play: Play[Any]) -> None:
    async def story(desk: Desk) -> None:
        await desk.label(True, request="a", rows=(2,))
        await desk.answer("a", "..!")
        assert await desk.counts() == (1, 0, 0, 0)
        desk.now += timedelta(days=30)
        await desk.label(False, request="a", rows=(0,))
        assert await desk.counts() == (1, 0, 0, 1)
        assert (await desk.look()).unmatched == 0

    play(story)


def test_the_label_that_was_given_last_counts_whichever_comes_first(play: Play[Any]) -> None:
    async def story(desk: Desk) -> None:
        await desk.answer("a", "!!")
        desk.now += HOUR
        await desk.label(False, at=NOON + 0.9 * HOUR, request="a")
        await desk.label(True, at=NOON + 0.5 * HOUR, request="a")  # overtaken on its way
        assert await desk.counts() == (0, 0, 2, 0)
        await desk.label(True, at=NOON + 0.9 * HOUR, request="a", rows=(1,))  # as late: the later to come
        assert await desk.counts() == (1, 0, 1, 0)

    play(story)


def test_a_clock_that_runs_ahead_does_not_make_a_label_final(play: Play[Any]) -> None:
    async def story(desk: Desk) -> None:
        await desk.answer("a", "!")
        await desk.label(False, at=NOON + 1000 * HOUR, request="a")
        desk.now += HOUR
        await desk.label(True, request="a")
        assert await desk.counts() == (1, 0, 0, 0)

    play(story)


def test_an_interval_is_of_its_series_and_without_its_end(play: Play[Any]) -> None:
    async def story(desk: Desk) -> None:
        for minute, series in enumerate(["mill", "mill", "", "stream:mill", "mill"]):
            await desk.answer(f"a{minute}", "!", series=series, at=NOON + minute * HOUR / 60)
        await desk.label(False, series="mill", start="2026-03-01T12:01:00Z", end="2026-03-01T13:04:00+01:00")
        assert await desk.counts() == (0, 0, 2, 0)
        await desk.label(True, start="2026-03-01T12:00:00Z", end="2026-03-01T14:00:00Z")
        assert await desk.counts() == (1, 0, 2, 0)
        # It is of rows too that come late.
        await desk.answer("late", "!", at=NOON + HOUR / 2)
        assert await desk.counts() == (2, 0, 2, 0)

    play(story)


def test_v2s_own_id_names_its_request_too(play: Play[Any]) -> None:
    async def story(desk: Desk) -> None:
        outputs = [{"name": "score", "data": [0.1, 0.9]}, {"name": "anomaly", "data": [False, True]}]
        parameters = {"revision": "r1", "threshold": 0.5}
        event = InferenceResponse(outputs=outputs, parameters=parameters, id="mine")
        await desk.observer.observe(event, desk._context("theirs", None), desk.pump())
        await desk.label(True, request="mine", rows=(1,))
        await desk.label(False, request="theirs", rows=(0,))
        assert await desk.counts() == (1, 0, 0, 1)

    play(story)


def test_what_is_delivered_again_counts_once(play: Play[Any], db: Path) -> None:
    async def story(desk: Desk) -> None:
        for _ in range(3):
            await desk.answer("a", "!.")
            await desk.label(True, at=NOON, id="l", request="a")
        assert await desk.counts() == (1, 1, 0, 0)

    play(story)
    play(story)  # another process, the same file


def test_each_revision_has_its_own_figures(play: Play[Any]) -> None:
    async def story(desk: Desk) -> None:
        await desk.answer("a", "!!", by="r1")
        await desk.answer("b", "..", by="r0")
        await desk.answer("c", "..", by="r-of-old")
        for request in "abc":
            await desk.label(True, request=request)
        assert await desk.counts("r1") == (2, 0, 0, 0)
        assert await desk.counts("r0") == (0, 2, 0, 0)
        assert set((await desk.look()).quality) == {"r0", "r1"}

    play(story)


def test_false_alarms_are_stretches_that_go_on_from_request_to_request(play: Play[Any]) -> None:
    async def story(desk: Desk) -> None:
        await desk.answer("a", "!..!!")  # one alarm, and the beginning of another
        await desk.answer("b", "!!.!!")  # which is true in the end, and one of which nobody says anything
        await desk.answer("x", "!!", series="mill")  # another machine's, beside them
        await desk.label(False, request="a")
        await desk.label(True, request="b", rows=(1,))
        await desk.label(False, request="x")
        found = (await desk.look()).quality["r1"]
        assert found.false_events == 2
        assert found.days == pytest.approx(7 * 60 / 86_400)

    play(story)


def test_a_label_that_no_row_fits_is_given_up_after_an_hour_and_counted(play: Play[Any]) -> None:
    async def story(desk: Desk) -> None:
        await desk.label(True, request="nobody's")
        assert (await desk.look()).unmatched == 0
        desk.now += HOUR
        assert (await desk.look()).unmatched == 1
        assert (await desk.look()).unmatched == 1
        await desk.answer("nobody's", "!")
        assert await desk.counts() == (0, 0, 0, 0)

    play(story)


def test_rows_that_the_request_had_not_are_refused_with_those_it_had(play: Play[Any]) -> None:
    async def story(desk: Desk) -> None:
        await desk.answer("a", "!!!")
        with pytest.raises(Reject) as refused:
            await desk.label(True, request="a", rows=(2, 3))
        (fault,) = refused.value.faults
        assert (fault.field, fault.value) == ("data.rows", "3")
        assert "from 0 to 2" in fault.mend
        assert await desk.counts() == (0, 0, 0, 0)
        await desk.label(True, request="b", rows=(5,))  # not known yet
        await desk.answer("b", "!")
        desk.now += HOUR
        assert (await desk.look()).unmatched == 1

    play(story)


def test_only_so_much_is_kept(db: Path) -> None:
    async def story(desk: Desk) -> None:
        for number in range(10):
            await desk.answer(f"a{number}", "!")
        for number in range(9, -1, -1):
            await desk.label(True, request=f"a{number}")
        assert await desk.counts() == (4, 0, 0, 0)
        desk.now += 3 * HOUR
        await desk.answer("new", "!")
        assert await desk.counts() == (0, 0, 0, 0)

    on(db, story, Limits(answers=4, age=2 * HOUR))


def test_answers_that_are_not_our_predictors_are_passed_over(play: Play[Any]) -> None:
    async def story(desk: Desk) -> None:
        for foreign in (
            InferenceResponse(predictions=[1, 0], revision="r1"),
            InferenceResponse(predictions=[{"anomaly": True}]),
            InferenceResponse(outputs=["?"], revision="r1"),
            InferenceResponse(revision="r1"),
        ):
            await desk.observer.observe(foreign, desk._context("a", None), desk.pump())
        await desk.label(True, request="a")
        assert await desk.counts() == (0, 0, 0, 0)
        fate = {"kind": "answer", "fate": "unreadable"}
        assert desk.registry.get_sample_value("homeostat_label_events_total", fate) == 4

    play(story)


def test_a_score_without_a_flag_is_laid_against_the_threshold() -> None:
    event = InferenceResponse(predictions=[{"score": 0.4}, {"score": 0.6}], revision="r", threshold=0.5)
    found = scored_rows.read(event)
    assert found is not None
    assert list(found.rows) == [0, 1]


def test_many_at_once_are_written_together_and_each_is_there(db: Path) -> None:
    async def story(desk: Desk) -> None:
        await asyncio.gather(*(desk.answer(f"a{number}", "!") for number in range(300)))
        await asyncio.gather(*(desk.label(True, request=f"a{number}") for number in range(300)))
        assert await desk.counts() == (300, 0, 0, 0)

    on(db, story)


def test_one_refusal_does_not_spoil_what_is_written_with_it(play: Play[Any]) -> None:
    async def story(desk: Desk) -> None:
        await desk.answer("a", "!")
        ends = await asyncio.gather(
            desk.answer("b", "!"),
            desk.label(True, request="a", rows=(1,)),
            desk.label(True, request="b"),
            return_exceptions=True,
        )
        assert [type(one) for one in ends] == [type(None), Reject, type(None)]
        assert await desk.counts() == (1, 0, 0, 0)

    play(story)


def test_errors_come_in_the_order_of_labels_and_once_for_each_row(play: Play[Any]) -> None:
    async def story(desk: Desk) -> None:
        await desk.answer("a", "!.")
        await desk.answer("b", "!")
        await desk.label(True, request="b")
        await desk.label(True, request="a")
        await desk.label(False, request="b")  # a correction
        book = desk.observer.book
        (first, right), (_, mixed) = book.errors("pump", "r1")
        assert (list(right), list(mixed)) == ([0], [0, 1])
        assert [list(errors) for _, errors in book.errors("pump", "r1", first)] == [[0, 1]]

    play(story)


def test_the_counters_of_what_serves_are_asked_for_where_bands_are_wanted(play: Play[Any]) -> None:
    async def story(desk: Desk) -> None:
        assert (await desk.look()).counters == RevisionFigures(rows=7)
        plain = desk.pump()
        off = plain.model_copy(update={"spec": spec(quality={"bands": False})})
        found = await desk.observer.observe(CanaryTick(), desk._context("t", None), off)
        assert found is not None
        assert found.counters is None

    play(story)


LABELS = st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 2))
"""What it says, of which row, and when it was given."""


@given(given=st.lists(LABELS, max_size=8), answered=st.integers(0, 8))
@settings(max_examples=15, deadline=None)
def test_whenever_the_rows_come_the_last_label_of_each_counts(
    tmp_path_factory: pytest.TempPathFactory, given: list[tuple[bool, int, int]], answered: int
) -> None:
    async def story(desk: Desk) -> None:
        desk.now = NOON + HOUR / 2
        for place, (anomalous, row, minute) in enumerate(given):
            if place == answered:
                await desk.answer("a", "!.!.")
            await desk.label(anomalous, at=NOON + minute * HOUR / 60, request="a", rows=(row,))
        if answered >= len(given):
            await desk.answer("a", "!.!.")
        last = {row: one for one, row, _ in sorted(given, key=lambda one: one[2])}
        said = [(anomalous, row % 2 == 0) for row, anomalous in last.items()]
        counts = [(True, True), (True, False), (False, True), (False, False)]
        assert await desk.counts() == tuple(said.count(one) for one in counts)

    on(tmp_path_factory.mktemp("labels") / "labels.db", story)


def test_times_that_cannot_be_read_are_those_of_arrival(play: Play[Any]) -> None:
    async def story(desk: Desk) -> None:
        context = Context(id="a", source="s", type="t", subject="p", correlationid="a", time="yesterday")
        event = InferenceResponse(predictions=[{"anomaly": True}], revision="r1")
        await desk.observer.observe(event, context, desk.pump())
        await desk.label(True, request="a")
        assert (await desk.look()).quality["r1"].since == NOON.astimezone(UTC)

    play(story)
