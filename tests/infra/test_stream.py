"""A stream before real model servers: each row is scored once, behind the rows that came before it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson
import pytest

from homeostat.eventing.codec import Context
from homeostat.eventing.errors import Reject, Retry
from homeostat.eventing.messages import KafkaRecord, SamplesReceived
from homeostat.eventing.wire import WireEvent
from homeostat.functions.alarms import CALM, Alarm, follow
from homeostat.functions.detector import Cause, Detector, Revision, Status
from homeostat.functions.score_stream import StreamFacts
from homeostat.functions.spec import Data, Features, Spec
from homeostat.infra.local.payload_log import PayloadLog
from homeostat.infra.local.scorer import Scorer
from homeostat.infra.local.serving import Desired
from homeostat.infra.observing.stream import StreamObserver
from homeostat.infra.observing.stream_series import Kept
from homeostat.models import artifact
from tests.infra.serving_home import CHANNELS, Home, home, save_artifacts, served

T = TypeVar("T")
Rows = list[list[float]]

ASIDE = "fan"
"""A detector whose desire nobody has heard of yet."""


class Stage:
    """A serving home that stands still between the tests of this file."""

    def __init__(self, loop: asyncio.AbstractEventLoop, here: Home, artifacts: dict[str, Path]) -> None:
        self.loop, self.home, self.artifacts = loop, here, artifacts
        self.observers: list[StreamObserver] = []

    def play(self, story: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(story, 60))

    def observer(self, **options: Any) -> StreamObserver:
        scorer = Scorer(self.home.serving.router, self.home.serving.url)
        self.observers.append(StreamObserver(scorer, **options))
        return self.observers[-1]

    async def serve(self, revision: str) -> None:
        await self.home.serving.desire(Desired("pump", served(self.artifacts, revision), None, 0))
        await self.home.until_serves(revision)
        route = self.home.serving.router.routes
        await self.home.until(lambda: route()["pump"].stable.revision == revision)  # type: ignore[union-attr]

    def alarms(self, rows: Rows, revision: str = "pump-a") -> list[Alarm]:
        """What the artifact itself says of the rows, all at once."""
        fitted = artifact.load(self.artifacts[revision])
        scores = fitted.score(np.array(rows))
        return list(follow(None, fitted.anomalies(scores).tolist(), scores.tolist()))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    artifacts = save_artifacts(tmp_path_factory.mktemp("artifacts"))
    with asyncio.Runner() as runner:
        loop, stack = runner.get_loop(), AsyncExitStack()
        here = loop.run_until_complete(stack.enter_async_context(home(tmp_path_factory.mktemp("state"))))
        try:
            stage = Stage(loop, here, artifacts)
            stage.play(stage.serve("pump-a"))
            yield stage
            for one in stage.observers:
                loop.run_until_complete(one.close())
        finally:
            loop.run_until_complete(stack.aclose())


def detector(name: str = "pump", serving: bool = True, **features: Any) -> Detector:
    revision = Revision(name="pump-a", uri="x", algorithm="isolation-forest", version="1")
    return Detector(
        name=name,
        spec=Spec(data=Data(uri="data/", channels=CHANNELS), features=Features(**features)),
        status=Status(serving=revision if serving else None),
        now=datetime(2026, 3, 1, tzinfo=UTC),
        cause=Cause(id="e", correlationid="e"),
    )


def rows(calm: int = 40, odd: int = 0, after: int = 0, seed: int = 1) -> Rows:
    """Usual rows, then some that are far off, then usual ones."""
    drawn = np.random.default_rng(seed).normal(size=(calm + odd + after, 2)) * 0.3
    drawn[calm : calm + odd] += (9, -9)
    return drawn.round(3).tolist()


def context(identity: object, kind: str = SamplesReceived.type) -> Context:
    return Context(id=str(identity), source="/test", type=kind, subject="pump", correlationid=str(identity))


async def told(
    observer: StreamObserver, block: Rows, identity: object, series: str = "", to: Detector | None = None
) -> StreamFacts:
    event = SamplesReceived(rows=block, series=series)
    facts = await observer.observe(event, context(identity), to or detector())
    assert facts is not None
    return facts


def counted(alarms: list[Alarm]) -> list[tuple[int, bool]]:
    return [(one.rows, one.ended) for one in alarms]


def fate(observer: StreamObserver, name: str, of: str = "pump") -> float:
    value: float = observer.rows.labels(of, name)._value.get()
    return value


@pytest.mark.parametrize("size", [1, 3, 7, 66])
def test_a_stream_in_pieces_is_judged_as_its_rows_are_at_once(stage: Stage, size: int) -> None:
    block = rows(40, 6, 20)
    expected = stage.alarms(block)
    assert any(one.rows >= 6 for one in expected)

    async def story() -> None:
        observer, ended, best = stage.observer(), [], -np.inf
        for start in range(0, len(block), size):
            facts = await told(observer, block[start : start + size], start, series=f"pieces-{size}")
            ended += [one for one in facts.alarms if one.ended]
            best = max([best, *(one.score for one in facts.alarms)])
        assert counted(ended) == counted([one for one in expected if one.ended])
        assert best == pytest.approx(max(one.score for one in expected))

    stage.play(story())


def test_an_alarm_names_revision_threshold_and_the_shares_of_its_highest_rows_channels(stage: Stage) -> None:
    async def story() -> StreamFacts:
        observer = stage.observer()
        await told(observer, rows(40), 1, series="named")
        return await told(observer, rows(0, 6), 2, series="named")

    facts, fitted = stage.play(story()), artifact.load(stage.artifacts["pump-a"])
    (alarm,) = facts.alarms
    assert (facts.revision, facts.series) == ("pump-a", "named")
    assert alarm.score > facts.threshold == fitted.threshold
    assert alarm.row is not None
    shares = fitted.contributions(np.array(rows(40) + rows(0, 6)))[40 + alarm.row]
    assert alarm.channels == pytest.approx(dict(zip(CHANNELS, shares, strict=True)))


def test_an_event_that_comes_twice_is_scored_once_and_gets_the_same_facts(stage: Stage) -> None:
    block = rows(20, 5)

    async def story() -> None:
        observer = stage.observer()
        pair = await asyncio.gather(*(told(observer, block, "a", "twice") for _ in range(2)))
        again = await told(observer, block, "a", "twice")
        assert pair[0] is pair[1] is again
        assert again.alarms
        assert (fate(observer, "in_order"), fate(observer, "repeated")) == (25, 50)
        after = await told(observer, rows(CALM + 4), "b", "twice")
        assert counted(list(after.alarms)) == counted(stage.alarms(block + rows(CALM + 4)))[-1:]

    stage.play(story())


def test_a_delivery_that_is_given_up_is_scored_to_the_end_and_found_by_the_next(stage: Stage) -> None:
    async def story() -> None:
        observer = stage.observer()
        first = asyncio.create_task(told(observer, rows(9), "a", "given-up"))
        await asyncio.sleep(0)
        first.cancel()
        await told(observer, rows(9), "a", "given-up")
        assert (fate(observer, "in_order"), fate(observer, "repeated")) == (9, 9)

    stage.play(story())


def test_events_that_come_together_are_scored_in_one_request(stage: Stage) -> None:
    async def story() -> None:
        observer = stage.observer()
        block = rows(50, 5, 20)
        asked = [told(observer, [row], place, "together") for place, row in enumerate(block)]
        facts = await asyncio.gather(*asked)
        assert observer.batches.labels("pump")._value.get() <= 2
        ended = [alarm for one in facts for alarm in one.alarms if alarm.ended]
        assert counted(ended) == counted([one for one in stage.alarms(block) if one.ended])

    stage.play(story())


def test_series_do_not_see_each_others_rows(stage: Stage) -> None:
    async def story() -> None:
        observer = stage.observer()
        await told(observer, rows(20), 1, "mine")
        await told(observer, rows(0, 8), 2, "yours")
        facts = await told(observer, rows(20), 3, "mine")
        assert counted(list(facts.alarms)) == counted(stage.alarms(rows(20) + rows(20)))

    stage.play(story())


@pytest.mark.parametrize("name", ["", "Linie 3, Süd", "a/b?c=d%20", "x" * 150])
def test_a_series_may_be_named_as_people_do(stage: Stage, name: str) -> None:
    async def story() -> None:
        observer = stage.observer()
        for part in (rows(3), rows(4, 4)):
            facts = await told(observer, part, len(part), name)
        assert facts.alarms

    stage.play(story())


def test_every_row_is_logged_for_the_drift_test_once(stage: Stage) -> None:
    logged: list[WireEvent] = []

    async def emit(events: Any) -> None:
        logged.extend(events)

    async def story() -> None:
        router, log = stage.home.serving.router, PayloadLog(emit)
        router.payloads = log
        try:
            observer = stage.observer()
            for place in range(5):
                await told(observer, rows(10, 2 if place == 3 else 0, seed=place), place, "logged")
        finally:
            router.payloads = None
            await log.stop()
        requests = [one for one in logged if one.attributes["type"].endswith("request")]
        assert sum(len(orjson.loads(one.data or b"")["instances"]) for one in requests) == 52

    stage.play(story())


def test_the_window_outlives_the_revisions_process_and_the_revision(stage: Stage) -> None:
    block, more, third = rows(10), rows(4, 3, seed=2), rows(2, 2, 5, seed=3)

    async def story() -> None:
        observer, kill = stage.observer(), stage.home.pid("pump-a")
        await told(observer, block, 1, "outlives")
        os.kill(kill, signal.SIGKILL)
        await stage.home.until(lambda: not stage.home.serving.ready("pump", "pump-a"))
        with pytest.raises(Retry, match="pump cannot be scored"):
            await told(observer, more, 2, "outlives")
        await stage.serve("pump-a")
        again = await told(observer, more, 2, "outlives")
        assert again.alarms[-1].score == pytest.approx(stage.alarms(block + more)[-1].score)
        await stage.serve("pump-b")
        try:
            other = await told(observer, third, 3, "outlives")
            fitted = artifact.load(stage.artifacts["pump-b"])
            scores = fitted.score(np.array(block + more + third))[-len(third) :]
            assert other.revision == "pump-b"
            assert other.alarms[-1].score == pytest.approx(scores[other.alarms[-1].row or 0])
        finally:
            await stage.serve("pump-a")

    stage.play(story())


def test_while_nothing_serves_rows_are_taken_and_counted(stage: Stage) -> None:
    async def story() -> None:
        observer = stage.observer()
        event = SamplesReceived(rows=rows(7))
        assert await observer.observe(event, context(1), detector(serving=False)) is None
        assert fate(observer, "unscored") == 7

    stage.play(story())


def test_a_revision_that_nobody_can_ask_is_asked_again_later(stage: Stage) -> None:
    with pytest.raises(Retry, match="fan cannot be scored: 404"):
        stage.play(told(stage.observer(), rows(7), 1, to=detector(ASIDE)))


def test_bad_rows_are_refused_before_anybody_is_asked(stage: Stage) -> None:
    with pytest.raises(Reject, match=r"data\.rows\.0\.flow"):
        stage.play(told(stage.observer(), [[1.0, None]], 1))  # type: ignore[list-item]


def test_what_the_revision_refuses_fails_alone_and_the_stream_goes_on(stage: Stage) -> None:
    gaps = detector(missing="hold:3")  # but the revision was trained before that was asked for

    async def story() -> None:
        observer = stage.observer()
        blocks = [rows(8), [[1.0, None]], rows(4, 3)]
        asked = [told(observer, one, place, "alone", gaps) for place, one in enumerate(blocks)]  # type: ignore[arg-type]
        first, second, third = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(first, StreamFacts)
        assert isinstance(second, Reject)
        assert isinstance(third, StreamFacts)
        assert third.alarms[-1].score == pytest.approx(stage.alarms(rows(8) + rows(4, 3))[-1].score)

    stage.play(story())


def test_series_that_are_used_least_are_forgotten_first_and_memory_is_bounded(stage: Stage) -> None:
    async def story() -> None:
        observer = stage.observer(kept=Kept(most=5), most_answered=20)
        for place in range(40):
            await told(observer, rows(9), place, f"bounded-{place}")
        assert len(observer.kept) <= 6
        assert observer.kept.nbytes <= 6 * 9 * 2 * 8
        few = stage.observer(kept=Kept(nbytes=100))
        for place in range(10):
            await told(few, rows(9), place, f"bytes-{place}")
        assert len(few.kept) <= 3

    stage.play(story())


# --- Kafka records ---------------------------------------------------------------------------------------
async def record(observer: StreamObserver, row: list[float], offset: int, partition: int = 0) -> StreamFacts:
    event = KafkaRecord(value=dict(zip(CHANNELS, row, strict=True)))
    said = context(f"partition:{partition}/offset:{offset}", KafkaRecord.type)
    facts = await observer.observe(event, said, detector())
    assert facts is not None
    return facts


def test_kafka_records_are_scored_in_the_order_of_their_offsets(stage: Stage) -> None:
    block = rows(30, 5, 20)
    expected = stage.alarms(block)

    async def story() -> None:
        observer = stage.observer(hold=10)
        shuffled = list(enumerate(block))
        facts = [await record(observer, block[0], 0)]
        for start in range(1, len(block), 11):
            part = shuffled[start : start + 11]
            random.Random(start).shuffle(part)
            facts += await asyncio.gather(*(record(observer, row, offset) for offset, row in part))
        ended = [alarm for one in facts for alarm in one.alarms if alarm.ended]
        assert counted(ended) == counted([one for one in expected if one.ended])
        assert fate(observer, "late") == 0

    stage.play(story())


def test_an_offset_that_never_comes_holds_others_up_for_a_moment_only(stage: Stage) -> None:
    async def story() -> None:
        observer, clock = stage.observer(hold=0.2), asyncio.get_running_loop().time
        await record(observer, [0.1, 0.1], 0)
        begun = clock()
        await asyncio.gather(record(observer, [0.1, 0.1], 2), record(observer, [0.1, 0.1], 3))
        assert 0.2 <= clock() - begun < 5
        await record(observer, [0.1, 0.1], 1)
        assert (fate(observer, "in_order"), fate(observer, "late")) == (3, 1)
        await record(observer, [0.1, 0.1], 7, partition=1)

    stage.play(story())
