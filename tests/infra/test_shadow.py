"""A shadow: stable answers, the shadow is asked the same afterwards, and nobody notices but the counters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from homeostat.eventing.wire import WireEvent
from homeostat.functions.canary import ShadowFigures
from homeostat.infra.local import shadow
from homeostat.infra.local.exchange import Ask, Reply
from homeostat.infra.local.figures import canary_facts
from homeostat.infra.local.payload_log import PayloadLog
from homeostat.infra.local.serving import Desired
from homeostat.infra.local.shadow_words import compared, reset
from homeostat.infra.local.sides import Route
from tests.infra.serving_home import Home, home, save_artifacts, served
from tests.infra.test_router import INFER, Bench, Handle, answering, bench

V1, V2 = "v1/models/pump:predict", "v2/models/pump/infer"


class Revision:
    """Judges a row anomalous above its bound, and remembers what it was asked."""

    def __init__(self, bound: float = 1.0, after: float = 0.0, status: int = 200) -> None:
        self.bound, self.after, self.status = bound, after, status
        self.asked: list[dict[str, Any]] = []

    async def handle(self, request: Request) -> Response:
        await asyncio.sleep(self.after)
        body = await request.json()
        self.asked.append(body)
        if self.status != 200:
            return JSONResponse({"error": "no"}, self.status)
        if "inputs" in body:
            rows = body["inputs"][0]["data"]
            data = [row > self.bound for row in rows]
            return JSONResponse({"outputs": [{"name": "anomaly", "data": data}], "parameters": {}})
        return JSONResponse({"predictions": [{"anomaly": row[0] > self.bound} for row in body["instances"]]})


@asynccontextmanager
async def shadowed(stable: Handle, copied: Handle, **options: Any) -> AsyncIterator[Bench]:
    async with bench({"a": stable, "b": copied}, **options) as here:
        here.router.route("pump", Route(here.backend("a"), here.backend("b"), 5, shadow=True))
        yield here


def told(here: Bench) -> dict[str, float]:
    """What is counted of the shadow, less what is zero."""
    found = {
        "_".join((sample.name.removeprefix("homeostat_shadow_").removesuffix("_total"), *more)): sample.value
        for family in here.router.registry.collect()
        for sample in family.samples
        if sample.name.startswith("homeostat_shadow_") and sample.name.endswith("_total")
        for more in [[sample.labels["outcome"]] if "outcome" in sample.labels else []]
    }
    return {name: value for name, value in found.items() if value}


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is waited for is another task
            await asyncio.sleep(0.01)


def test_stable_answers_all_and_the_shadow_is_compared_by_its_flags() -> None:
    async def story() -> None:
        stable, copied = Revision(1.0), Revision(2.0)
        async with shadowed(stable.handle, copied.handle) as here:
            for value in (0.5, 1.5, 2.5):
                answer = await here.post(json={"instances": [[value], [0.0]]})
                assert answer.headers["x-homeostat-revision"] == "a"
            tensor = {"name": "rows", "shape": [1, 1], "datatype": "FP64", "data": [1.5]}
            assert (await here.post(INFER, json={"inputs": [tensor]})).status == 200
            await until(lambda: len(copied.asked) == 4)
            await until(lambda: told(here).get("requests_ok") == 4)
            assert sorted(map(str, copied.asked)) == sorted(map(str, stable.asked))
            assert told(here) == {"requests_ok": 4, "rows": 7, "agreed": 5}
            assert (here.counted("a", "ok"), here.counted("b", "ok")) == (4, None), "clients asked stable"

    asyncio.run(story())


def test_a_shadow_that_is_slow_or_fails_costs_a_client_nothing() -> None:
    async def story() -> None:
        timeout = aiohttp.ClientTimeout(total=0.2)
        async with shadowed(answering(200), answering(200, after=1), canary_timeout=timeout) as here:
            begun = asyncio.get_running_loop().time()
            for _ in range(5):
                assert (await here.post()).status == 200
            assert asyncio.get_running_loop().time() - begun < 0.25
            await until(lambda: told(here) == {"requests_error": 5})
        async with shadowed(answering(422), answering(422)) as here:
            assert (await here.post()).status == 422
            await until(lambda: told(here) == {"requests_rejected": 1})
        async with shadowed(answering(200), answering(422)) as here:
            assert (await here.post()).status == 200
            await until(lambda: told(here) == {"requests_error": 1})

    asyncio.run(story())


def test_what_a_shadow_answers_is_not_logged() -> None:
    events: list[WireEvent] = []

    async def emit(batch: Sequence[WireEvent]) -> None:
        events.extend(batch)

    async def story() -> None:
        payloads = PayloadLog(emit)
        async with shadowed(answering(200), answering(200), payloads=payloads) as here:
            await payloads.start()
            for _ in range(3):
                await here.post()
            await until(lambda: told(here).get("requests_ok") == 3)
            await payloads.stop()

    asyncio.run(story())
    assert [event.attributes["endpoint"] for event in events] == ["default"] * 6


def test_without_stable_a_shadow_answers_nobody() -> None:
    async def story() -> None:
        async with bench({"b": answering(200)}) as here:
            here.router.route("pump", Route(None, here.backend("b"), 100, shadow=True))
            assert (await here.post()).status == 503

    asyncio.run(story())


def test_copies_for_which_there_is_no_room_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "MAX_COPIES", 6)

    async def story() -> None:
        slow = Revision(after=0.2)
        async with shadowed(Revision().handle, slow.handle) as here:
            for _ in range(20):
                assert (await here.post()).status == 200
            await until(lambda: told(here).get("dropped", 0) + told(here).get("requests_ok", 0) == 20)
            assert told(here)["dropped"] >= 20 - 2 * 6

    asyncio.run(story())


def test_a_series_keeps_its_order_and_starts_anew_where_a_copy_was_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        copied = Revision(after=0.01)
        async with shadowed(Revision().handle, copied.handle) as here:

            async def send(value: int, series: str) -> None:
                await here.post(json={"instances": [[value]], "series": series})

            for value in range(30):
                await asyncio.gather(*(send(value, f"line-{n}") for n in range(3)))
            await until(lambda: len(copied.asked) == 90)
            for n in range(3):
                of = [one for one in copied.asked if one["series"] == f"line-{n}"]
                assert [one["instances"] for one in of] == [[[value]] for value in range(30)]
                assert [one.get("reset", False) for one in of] == [True, *[False] * 29]
            monkeypatch.setattr(shadow, "MAX_COPIES", 0)
            await send(30, "line-0")
            monkeypatch.setattr(shadow, "MAX_COPIES", 99)
            for value in (31, 32):
                await send(value, "line-0")
            await until(lambda: len(copied.asked) == 92)
            assert [one.get("reset", False) for one in copied.asked[-2:]] == [True, False]

    asyncio.run(story())


def test_what_was_queued_for_a_shadow_that_is_none_any_more_is_given_up() -> None:
    async def story() -> None:
        copied = Revision(after=0.1)
        async with shadowed(Revision().handle, copied.handle) as here:
            for _ in range(30):
                await here.post()
            here.route("a", "b", 5)
            asked = len(copied.asked)
            await asyncio.sleep(0.4)
            assert len(copied.asked) <= asked + shadow.LANES
            assert told(here).get("requests_ok", 0) <= asked

    asyncio.run(story())


# --- answers, compared -----------------------------------------------------------------------------------
def v1(flags: list[bool], **options: Any) -> Reply:
    return Reply(200, [], orjson.dumps({"predictions": [{"anomaly": one} for one in flags], **options}))


def v2(flags: list[bool], **options: Any) -> Reply:
    outputs = [{"name": "score", "data": [0.0] * len(flags)}, {"name": "anomaly", "data": flags}]
    return Reply(200, [], orjson.dumps({"outputs": outputs, "parameters": options}))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=20))
def test_rows_agree_where_both_flags_are_the_same(pairs: list[tuple[bool, bool]]) -> None:
    left, right = [one for one, _ in pairs], [other for _, other in pairs]
    wanted = len(pairs), sum(one == other for one, other in pairs)
    assert compared(V1, v1(left), v1(right)) == compared(V2, v2(left), v2(right)) == wanted


@pytest.mark.parametrize(
    ("stable", "copied", "counts"),
    [
        ((9, 9), (9, 9), True),
        ((9, 9), (20, 20), True),
        ((9, 9), (8, 9), False),
        ((9, 9), (9, 20), False),
        ((3, 9), (3, 20), True),
        ((3, 9), (2, 20), False),
        ((0, 9), (0, 20), True),
    ],
)
def test_rows_count_only_where_the_shadow_knew_as_much_of_the_past(
    stable: tuple[int, int], copied: tuple[int, int], counts: bool
) -> None:
    """Each has rows before the new ones, and how many matter to it."""
    said = [dict(zip(("past", "tail"), one, strict=True)) for one in (stable, copied)]
    for words, path in ((v1, V1), (v2, V2)):
        assert compared(path, words([True], **said[0]), words([True], **said[1])) == (counts, counts)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(503, [], v1([True]).body),
        Reply(200, [], b""),
        Reply(200, [], b"\x00\x01"),
        Reply(200, [], b"[]"),
        Reply(200, [], b'{"predictions": [1]}'),
        Reply(200, [], b'{"predictions": null, "outputs": []}'),
        v1([True, False]),
        v1([True], past="x", tail=1),
    ],
)
@pytest.mark.parametrize("path", [V1, V2])
def test_answers_that_cannot_be_compared_count_for_nothing(reply: Reply, path: str) -> None:
    good = v1([True]) if path == V1 else v2([True])
    assert compared(path, good, reply) == compared(path, reply, good) == (0, 0)


def test_a_request_says_that_its_series_starts_anew_where_the_predictor_looks() -> None:
    def said(path: str, body: object, *headers: tuple[bytes, bytes]) -> Any:
        found = reset(Ask("POST", path, list(headers), orjson.dumps(body)))
        return found and json.loads(found.body)

    assert said(V1, {"instances": [[1]], "series": "s"}) == {"instances": [[1]], "series": "s", "reset": True}
    assert said(V2, {"inputs": []}) == {"inputs": [], "parameters": {"reset": True}}
    assert said(V2, {"parameters": {"series": "s"}}) == {"parameters": {"series": "s", "reset": True}}
    assert said(V2, {"inputs": []}, (b"inference-header-content-length", b"9")) is None
    assert said(V1, [1]) is None
    assert said(V2, {"parameters": 7}) is None


# --- with real model servers -----------------------------------------------------------------------------
def test_a_shadows_figures_are_facts_of_the_canary(tmp_path: Path) -> None:
    artifacts = save_artifacts(tmp_path / "artifacts")
    rows = np.random.default_rng(3).normal(scale=2, size=(40, 2)).tolist()

    async def story(here: Home) -> None:
        a, b = served(artifacts, "pump-a"), served(artifacts, "pump-b")
        await here.serving.desire(Desired("pump", a, b, 0, shadow=True))
        await here.until_serves("pump-a", "pump-b")
        fresh = await canary_facts(here.serving, "pump", "pump-b")
        assert fresh.shadow == ShadowFigures(requests=0, errors=0, rows=0, agreed=0)
        for row in rows:
            status, revision, _ = await here.predict({"instances": [row], "series": "line-1"})
            assert (status, revision) == (200, "pump-a")
        for _ in range(100):
            facts = await canary_facts(here.serving, "pump", "pump-b")
            if facts.shadow and facts.canary and facts.shadow.requests == facts.canary.rows == len(rows):
                break
            await asyncio.sleep(0.05)
        assert facts.shadow is not None
        assert (facts.shadow.requests, facts.shadow.errors, facts.shadow.rows) == (40, 0, 40)
        assert 25 <= facts.shadow.agreed <= 40
        assert facts.canary is not None
        assert (facts.canary.requests, facts.canary.rows) == (0, 40), "no client, but rows that it judged"

        await here.serving.desire(Desired("pump", a, b, 50))
        assert (await canary_facts(here.serving, "pump", "pump-b")).shadow is None
        await here.serving.desire(Desired("pump", a, None, 0))
        await here.until(lambda: ("pump", "pump-b") not in here.serving.conditions())
        await here.until(
            lambda: all(
                sample.labels["revision"] != "pump-b"
                for family in here.serving.router.registry.collect()
                for sample in family.samples
                if "revision" in sample.labels
            )
        )

    async def run() -> None:
        async with home(tmp_path / "state") as here:
            await story(here)

    asyncio.run(run())
