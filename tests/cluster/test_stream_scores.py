"""A stream scored on a cluster, by real predictors behind addresses such as KServe's two modes have them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from homeostat.eventing.codec import Context
from homeostat.eventing.errors import Reject, Retry
from homeostat.eventing.messages import SamplesReceived
from homeostat.functions.alarms import follow
from homeostat.functions.detector import Canary, Cause, Detector, Revision, Status
from homeostat.functions.spec import Data, Spec
from homeostat.infra.cluster.scorer import Scorer, cluster_local
from homeostat.infra.observing.scoring import Scored
from homeostat.infra.observing.stream import StreamObserver
from homeostat.infra.observing.stream_series import recent
from homeostat.models import artifact
from homeostat.models.fitted import Fitted
from homeostat.models.fitting import fit
from tests.cluster.ports import on_a_port
from tests.cluster.predicting import predicting

CHANNELS = ("pressure", "flow")
NOW = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
CAUSE = Cause(id="c", correlationid="c")
OLD, NEW = (
    Revision(name=f"pump-{name}", uri=f"s3://models/{name}", algorithm="forest", version="1")
    for name in ("old", "new")
)
SERVICES = {"pump-old-predictor": OLD.name, "pump-new-predictor": NEW.name}
"""Standard mode: one for each revision."""
NOWHERE = "http://127.0.0.1:9"
Rows = NDArray[np.float64]


class Town:
    """Two predictors, and in front of them, where a test asks for it, what splits requests by chance."""

    def __init__(self, fitted: Mapping[str, Fitted], pods: Mapping[str, httpx.Client]) -> None:
        self.fitted, self.pods = fitted, pods

    def address(self, service: str) -> str:
        return str(self.pods[SERVICES[service]].base_url).rstrip("/")

    def rows_counted(self) -> float:
        """By both."""
        found = [
            re.search(r"^homeostat_rows_total{.*} (.*)$", one.get("/metrics").text, re.M)
            for one in self.pods.values()
        ]
        return sum(float(one[1]) for one in found if one)

    def agrees(self, scored: Scored, past: Rows, rows: Rows) -> None:
        """With what the revision that answered says of the whole."""
        whole = np.concatenate([past, rows])
        assert scored.scores == self.fitted[scored.revision].score(whole)[-len(rows) :].tolist()


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    root, drawn = tmp_path_factory.mktemp("models"), np.random.default_rng(7).normal(size=(400, 2))
    fitted, pods = {}, {}
    with contextlib.ExitStack() as stack:
        for seed, one in enumerate((OLD, NEW)):
            fitted[one.name] = fit(
                "isolation-forest", drawn, channels=CHANNELS, window=4, parameters={"trees": 10}, seed=seed
            )
            artifact.save(fitted[one.name], root / one.name, {})
            pods[one.name] = stack.enter_context(predicting(root / one.name, one))
        yield Town(fitted, pods)


@contextlib.contextmanager
def ingress(town: Town, choose: Callable[[], str]) -> Iterator[str]:
    """Knative mode: one address, where each request goes to the revision that is drawn for it."""

    async def pass_on(request: Request) -> Response:
        body, pod = await request.body(), town.pods[choose()]
        json = {"content-type": "application/json"}
        answer = await run_in_threadpool(pod.post, request.url.path, content=body, headers=json)
        return Response(answer.content, answer.status_code, media_type="application/json")

    with on_a_port(Starlette(routes=[Route("/v1/models/{rest:path}", pass_on, methods=["POST"])])) as url:
        yield url


@contextlib.contextmanager
def answering(status: int) -> Iterator[str]:
    """A revision that says that to everything."""

    async def say(_: Request) -> Response:
        return JSONResponse({"error": "out of sorts"}, status)

    with on_a_port(Starlette(routes=[Route("/{rest:path}", say, methods=["POST"])])) as url:
        yield url


def detector(stable: Revision | None = OLD, percent: int | None = None) -> Detector:
    """With NEW on trial, where there is a share for it."""
    trial = (
        Canary(revision=NEW, percent=percent, started=NOW, step_started=NOW, cause=CAUSE)
        if percent is not None
        else None
    )
    spec = Spec(data=Data(uri="s3://plant/pump/", channels=CHANNELS))
    return Detector(name="pump", spec=spec, status=Status(serving=stable, canary=trial), now=NOW, cause=CAUSE)


def stretch(n: int, seed: int = 5, odd: int = 0) -> Rows:
    drawn = (np.random.default_rng(seed).normal(size=(n + odd, 2)) * 0.3).round(3)
    drawn[n:] += (9, -9)
    return drawn


def play(story: Callable[[Scorer], Coroutine[Any, Any, Any]], scorer: Scorer, seen: Detector) -> Any:
    async def whole() -> Any:
        scorer.seen(seen)
        try:
            return await story(scorer)
        finally:
            await scorer.close()

    return asyncio.run(whole())


# --- one address for two revisions -------------------------------------------------------------------------
def test_whoever_is_drawn_scores_a_series_as_if_it_had_seen_all_of_it_and_counts_each_row_once(
    town: Town,
) -> None:
    choice, block = random.Random(3), stretch(40)

    async def story(scorer: Scorer) -> set[str]:
        past, answered = block[:0], set()
        for start in range(0, 40, 2):
            rows = block[start : start + 2]
            scored = await scorer.score("pump", "s", past, rows, unsure=True)
            town.agrees(scored, past, rows)
            answered.add(scored.revision)
            past = recent(np.concatenate([past, rows]), scored.tail)
            assert len(past) <= 2 * scored.tail == 6
        return answered

    before = town.rows_counted()
    with ingress(town, lambda: choice.choice(list(town.pods))) as url:
        both = play(story, Scorer("knative", lambda service: url), detector(percent=50))
    assert both == {OLD.name, NEW.name}
    assert town.rows_counted() - before == 40


def test_what_a_canary_may_be_to_blame_for_is_asked_again_and_its_event_is_not_given_up(town: Town) -> None:
    rows = stretch(2)

    async def story(scorer: Scorer) -> Scored:
        return await scorer.score("pump", "s", rows[:0], rows, unsure=True)

    with answering(400) as bad, ingress(town, lambda: OLD.name) as good:
        addresses = iter([bad, bad, good])
        found = play(story, Scorer("knative", lambda _: next(addresses)), detector(percent=5))
        assert found.revision == OLD.name
        with pytest.raises(Retry, match="out of sorts"):
            play(story, Scorer("knative", lambda _: bad), detector(percent=5))
        with pytest.raises(Reject, match="out of sorts"):
            play(story, Scorer("knative", lambda _: bad), detector())


@pytest.mark.parametrize(("answers", "told"), [(OLD.name, True), (NEW.name, False)])
def test_only_the_revision_that_scored_explains(town: Town, answers: str, told: bool) -> None:
    window = stretch(6, odd=1)

    async def story(scorer: Scorer) -> Mapping[str, float]:
        return await scorer.shares("pump", OLD.name, window)

    with ingress(town, lambda: answers) as url:
        found = play(story, Scorer("knative", lambda _: url), detector(percent=5))
    assert found.keys() == (set(CHANNELS) if told else set())
    assert not told or sum(found.values()) == pytest.approx(1)


# --- an address for each revision --------------------------------------------------------------------------
def sides(
    town: Town, percent: int, names: list[str], address: Callable[[str], str] | None = None
) -> dict[str, str]:
    """Which revision scored each series."""
    rows = stretch(2)

    async def story(scorer: Scorer) -> dict[str, str]:
        return {one: (await scorer.score("pump", one, rows[:0], rows, True)).revision for one in names}

    found: dict[str, str] = play(
        story, Scorer("standard", address or town.address), detector(percent=percent)
    )
    return found


NAMES = [f"s{number}" for number in range(40)]


def test_a_series_stays_on_its_side_and_only_moves_to_the_canary(town: Town) -> None:
    canarys = [
        {name for name, one in sides(town, percent, NAMES).items() if one == NEW.name}
        for percent in (0, 25, 25, 60, 100)
    ]
    assert canarys[0] == set()
    assert canarys[1] == canarys[2]
    assert canarys[1] < canarys[3] < set(NAMES) == canarys[4]


@pytest.mark.parametrize("trouble", ["away", 400, 500, 503])
def test_what_a_canary_does_not_score_the_stable_revision_does(town: Town, trouble: Any) -> None:
    with answering(trouble if trouble != "away" else 500) as url:
        broken = NOWHERE if trouble == "away" else url
        addresses = {"pump-new-predictor": broken, "pump-old-predictor": town.address("pump-old-predictor")}
        assert sides(town, 100, ["s"], addresses.__getitem__) == {"s": OLD.name}


def test_the_first_canary_has_no_other_beside_it(town: Town) -> None:
    rows = stretch(2)

    async def story(scorer: Scorer) -> Any:
        scored = await scorer.score("pump", "s", rows[:0], rows, True)
        return scored.revision, await scorer.shares("pump", scored.revision, rows)

    revision, shares = play(story, Scorer("standard", town.address), detector(None, 100))
    assert (revision, shares.keys()) == (NEW.name, set(CHANNELS))


def test_a_revision_that_is_away_is_asked_again_later_and_explains_nothing(town: Town) -> None:
    rows = stretch(2)

    async def story(scorer: Scorer) -> Any:
        assert await scorer.shares("pump", OLD.name, rows) == {}
        assert await scorer.shares("pump", "pump-forgotten", rows) == {}
        await scorer.score("pump", "s", rows[:0], rows, True)

    with pytest.raises(Retry, match="pump-old-predictor cannot be asked: ConnectError"):
        play(story, Scorer("standard", lambda _: NOWHERE), detector())


def test_a_name_that_leads_elsewhere_is_never_asked(town: Town) -> None:
    rows = stretch(2)
    evil = Revision(name="evil.com/#", uri="x", algorithm="forest", version="1")

    async def story(scorer: Scorer) -> Any:
        await scorer.score("pump", "s", rows[:0], rows, True)

    with pytest.raises(Reject, match=r"evil\.com"):
        play(story, Scorer("standard", lambda _: pytest.fail("asked")), detector(evil))


def test_services_are_called_by_their_cluster_local_names() -> None:
    assert cluster_local("plant")("pump-predictor") == "http://pump-predictor.plant.svc.cluster.local"


# --- the whole stream --------------------------------------------------------------------------------------
def test_a_stream_in_pieces_has_the_alarms_of_its_rows_at_once(town: Town) -> None:
    block = np.concatenate([stretch(20, odd=6), stretch(10, 6)])
    fitted = town.fitted[OLD.name]
    scores = fitted.score(block)
    expected = list(follow(None, fitted.anomalies(scores).tolist(), scores.tolist()))

    async def story(scorer: Scorer) -> list[Any]:
        observer, alarms = StreamObserver(scorer), list[Any]()
        for start in range(0, len(block), 5):
            event = SamplesReceived(rows=block[start : start + 5].tolist(), series="whole")
            context = Context(
                id=str(start), source="/t", type=event.type, subject="pump", correlationid=str(start)
            )
            facts = await observer.observe(event, context, detector())
            assert facts is not None
            alarms += facts.alarms
        return alarms

    with ingress(town, lambda: OLD.name) as url:
        alarms = play(story, Scorer("knative", lambda _: url), detector())
    assert [one.rows for one in alarms if one.ended] == [one.rows for one in expected if one.ended]
    assert any(one.channels.keys() == set(CHANNELS) for one in alarms), "explained where it was scored"
