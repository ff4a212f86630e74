"""The weighted router, on a real port, in front of real HTTP servers that behave as each test needs."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount
from starlette.routing import Route as Path

from homeostat.eventing.codec import context, parse
from homeostat.eventing.wire import WireEvent, decode, encode
from homeostat.infra.local.payload_log import PayloadLog
from homeostat.infra.local.router import Router
from homeostat.infra.local.sides import Backend, Route

PREDICT = "/serving/pump/v1/models/pump:predict"


@asynccontextmanager
async def listening(app: Any) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


Handle = Callable[[Request], Awaitable[Response]]


def answering(status: int, after: float = 0.0) -> Handle:
    async def handle(request: Request) -> Response:
        await asyncio.sleep(after)
        body = await request.body()
        headers = {"x-seen": request.headers.get("x-request-id", ""), "x-path": request.url.path}
        return JSONResponse({"bytes": len(body)}, status, headers=headers)

    return handle


def backend(handle: Handle) -> Starlette:
    return Starlette(routes=[Path("/{path:path}", handle, methods=["GET", "POST"])])


class Bench:
    """A router with named backends, and a client in front."""

    def __init__(self, router: Router, url: str, urls: dict[str, str], client: aiohttp.ClientSession) -> None:
        self.router, self.url, self.urls, self.client = router, url, urls, client

    def backend(self, name: str | None) -> Backend | None:
        return Backend(name, self.urls[name]) if name else None

    def route(self, stable: str | None, canary: str | None = None, percent: int = 0) -> None:
        self.router.route("pump", Route(self.backend(stable), self.backend(canary), percent))

    async def post(self, path: str = PREDICT, **options: Any) -> aiohttp.ClientResponse:
        if "data" not in options:
            options.setdefault("json", {"instances": [[1.0]]})
        async with self.client.post(self.url + path, **options) as answer:
            await answer.read()
            return answer

    def counted(self, revision: str, outcome: str) -> float | None:
        labels = {"detector": "pump", "revision": revision, "outcome": outcome}
        return self.router.registry.get_sample_value("homeostat_router_requests_total", labels)


@asynccontextmanager
async def bench(backends: dict[str, Handle], **options: Any) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        urls = {name: await stack.enter_async_context(listening(backend(h))) for name, h in backends.items()}
        urls["gone"] = "http://127.0.0.1:9"  # discard: nothing listens there
        router = Router(**options)
        stack.push_async_callback(router.close)
        url = await stack.enter_async_context(listening(Starlette(routes=[Mount("/serving", router)])))
        yield Bench(router, url, urls, await stack.enter_async_context(aiohttp.ClientSession()))


def test_traffic_splits_by_the_canarys_percentage() -> None:
    async def story() -> None:
        backends = {"a": answering(200), "b": answering(200)}
        async with bench(backends, choice=random.Random(5)) as here:
            here.route("a", "b", 20)
            answers = Counter([(await here.post()).headers["x-homeostat-revision"] for _ in range(500)])
            # Binomial(500, 0.2): four standard deviations are 36 requests.
            assert abs(answers["b"] - 100) < 36
            assert (here.counted("a", "ok"), here.counted("b", "ok")) == (answers["a"], answers["b"])

    asyncio.run(story())


INFER = "/serving/pump/v2/models/pump/infer"
TENSOR = {"name": "rows", "datatype": "FP64", "shape": [1, 1], "data": [1.0]}


def in_the_header(name: str) -> dict[str, Any]:
    return {"headers": {"X-Homeostat-Series": name}}


def in_v1(name: str) -> dict[str, Any]:
    return {"json": {"instances": [[1.0]], "series": name}}


def in_v2(name: str) -> dict[str, Any]:
    return {"path": INFER, "json": {"inputs": [TENSOR], "parameters": {"series": name}}}


def in_v2_before_binary_tensors(name: str) -> dict[str, Any]:
    document = json.dumps(in_v2(name)["json"]).encode()
    headers = {"Inference-Header-Content-Length": str(len(document))}
    return {"path": INFER, "data": document + bytes(range(256)), "headers": headers}


PLACES = [in_the_header, in_v1, in_v2, in_v2_before_binary_tensors]


def test_a_series_is_never_split_wherever_it_is_named_and_unnamed_requests_are() -> None:
    async def story() -> None:
        async with bench({"a": answering(200), "b": answering(200)}, choice=random.Random(5)) as here:
            here.route("a", "b", 50)

            async def reached(*requests: dict[str, Any]) -> set[str]:
                answers = [await here.post(**options) for options in requests * 3]
                return {answer.headers["x-homeostat-revision"] for answer in answers}

            named = [await reached(*(say(f"line-{n}") for say in PLACES)) for n in range(10)]
            assert {len(one) for one in named} == {1}
            assert set.union(*named) == {"a", "b"}
            assert await reached(*[{}] * 4) == {"a", "b"}

    asyncio.run(story())


@pytest.mark.parametrize("canary", ["broken", "slow", "gone", "picky"])
def test_a_canary_that_fails_is_counted_and_the_client_does_not_see_it(canary: str) -> None:
    async def story() -> None:
        backends = {
            "a": answering(200),
            "broken": answering(500),
            "slow": answering(200, after=1.0),
            "picky": answering(400),
        }
        async with bench(backends, canary_timeout=aiohttp.ClientTimeout(total=0.2)) as here:
            here.route("a", canary, 100)
            answer = await here.post()
            assert (answer.status, answer.headers["x-homeostat-revision"]) == (200, "a")
            assert here.counted(canary, "error") == 1
            assert here.counted("a", "ok") == 1

    asyncio.run(story())


def test_a_refusal_that_both_revisions_share_is_the_clients_own_fault() -> None:
    async def story() -> None:
        async with bench({"a": answering(422), "b": answering(422)}) as here:
            here.route("a", "b", 100)
            assert (await here.post()).status == 422
            assert (here.counted("a", "rejected"), here.counted("b", "rejected")) == (1, 1)
            assert not here.counted("b", "error")

    asyncio.run(story())


def test_a_stable_revision_that_fails_is_told_as_it_is() -> None:
    async def story() -> None:
        async with bench(
            {"a": answering(500), "slow": answering(200, after=1.0)},
            stable_timeout=aiohttp.ClientTimeout(total=0.2),
        ) as here:
            for name, status in (("a", 500), ("gone", 503), ("slow", 504)):
                here.route(name)
                answer = await here.post()
                assert answer.status == status
                assert here.counted(name, "error") == 1

    asyncio.run(story())


def test_without_a_ready_revision_the_client_is_told_to_come_back() -> None:
    async def story() -> None:
        async with bench({"b": answering(200)}) as here:
            here.route(None)
            answer = await here.post()
            assert (answer.status, answer.headers["retry-after"]) == (503, "2")
            here.route(None, "b", 100)
            assert (await here.post()).status == 200

    asyncio.run(story())


def test_requests_in_flight_finish_where_they_were_sent() -> None:
    async def story() -> None:
        async with bench({"a": answering(200, after=0.4), "b": answering(200)}) as here:
            here.route("a")
            slow = asyncio.create_task(here.post())
            await asyncio.sleep(0.15)
            here.route("b")
            assert (await here.post()).headers["x-homeostat-revision"] == "b"
            drained = asyncio.create_task(here.router.meters.idle("pump", "a"))
            await asyncio.sleep(0)
            assert not drained.done(), "a request is still at the retired revision"
            assert (await slow).headers["x-homeostat-revision"] == "a"
            await asyncio.wait_for(drained, 1)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("POST", "/serving/valve/v1/models/valve:predict", 404, "known detectors: pump"),
        ("POST", "/serving/pump/v2/repository/models/pump/unload", 404, "v2/models/{name}/infer"),
        ("POST", "/serving/pump/../../metrics", 404, ""),
        ("POST", "/serving/pump/v1/models/%2e%2e%2fpump:predict", 404, "path is"),
        ("DELETE", "/serving/pump/v2/models/pump/infer", 405, "use POST here"),
        ("GET", "/serving/pump/v2/health/ready", 200, ""),
    ],
)
def test_only_inference_and_probes_are_passed_on(method: str, path: str, status: int, says: str) -> None:
    async def story() -> None:
        async with bench({"a": answering(200)}) as here:
            here.route("a")
            async with here.client.request(method, here.url + path) as answer:
                assert answer.status == status
                assert says in await answer.text()

    asyncio.run(story())


def test_a_body_over_the_limit_is_refused_with_the_limit() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    async def story() -> None:
        async with bench({"a": answering(200)}, max_body=1000) as here:
            here.route("a")
            for body in (b"x" * 1001, chunks()):
                async with here.client.post(here.url + PREDICT, data=body) as answer:
                    assert answer.status == 413
                    assert "at most 1000 bytes" in await answer.text()
            async with here.client.post(here.url + PREDICT, data=b"x" * 1000) as answer:
                assert await answer.json() == {"bytes": 1000}

    asyncio.run(story())


def test_end_to_end_headers_and_the_path_reach_the_model_server() -> None:
    async def story() -> None:
        async with bench({"a": answering(200)}) as here:
            here.route("a")
            answer = await here.post("/serving/pump/v2/models/pump/infer", headers={"x-request-id": "r-1"})
            assert answer.headers["x-seen"] == "r-1"
            assert answer.headers["x-path"] == "/v2/models/pump/infer"

    asyncio.run(story())


# --- payloads as events ----------------------------------------------------------------------------------
def fates(registry: CollectorRegistry) -> dict[str, float | None]:
    name = "homeostat_payload_log_events_total"
    return {fate: registry.get_sample_value(name, {"fate": fate}) for fate in ("posted", "dropped")}


async def logged(status: int, requests: int = 1, **options: Any) -> list[WireEvent]:
    """The events that `requests` requests leave."""
    events: list[WireEvent] = []

    async def emit(batch: Sequence[WireEvent]) -> None:
        events.extend(batch)

    payloads = PayloadLog(emit, **options)
    async with bench({"a": answering(status)}, payloads=payloads) as here:
        here.route("a")
        await payloads.start()
        for number in range(requests):
            await here.post(headers={"ce-id": f"request-{number}"})
        await payloads.stop()
    return events


def test_a_pair_of_payload_events_shares_id_and_source_as_kserves_do() -> None:
    events = asyncio.run(logged(200))
    request, response = [decode(*encode(event)) for event in events]
    assert request.attributes["type"] == "org.kubeflow.serving.inference.request"
    assert response.attributes["type"] == "org.kubeflow.serving.inference.response"
    assert request.attributes["id"] == response.attributes["id"] == "request-0"
    assert request.attributes["source"] == response.attributes["source"]
    assert request.key != response.key
    assert context(request.attributes).subject == "pump"
    assert request.attributes["endpoint"] == "default"
    assert request.attributes["component"] == "predictor"
    assert parse(request)[0].instances == [[1.0]]  # type: ignore[union-attr]
    assert json.loads(response.data or b"") == {"bytes": len(request.data or b"")}


def test_only_a_200_leaves_a_response_event() -> None:
    events = asyncio.run(logged(400))
    assert [event.attributes["type"] for event in events] == ["org.kubeflow.serving.inference.request"]


def test_a_sample_logs_whole_pairs() -> None:
    events = asyncio.run(logged(200, requests=60, rate=0.5, choice=random.Random(1)))
    pairs = Counter(event.attributes["id"] for event in events)
    assert set(pairs.values()) == {2}
    assert 15 < len(pairs) < 45


def test_what_does_not_fit_is_dropped_and_counted_and_delays_nobody() -> None:
    async def story() -> tuple[int, dict[str, float | None]]:
        async def stuck(_: Sequence[WireEvent]) -> None:
            await asyncio.sleep(60)

        registry = CollectorRegistry()
        payloads = PayloadLog(stuck, max_events=4, registry=registry)
        async with bench({"a": answering(200)}, payloads=payloads) as here:
            here.route("a")
            await payloads.start()
            async with asyncio.timeout(5):
                statuses = [(await here.post()).status for _ in range(20)]
            await payloads.stop(within=0.1)
        return statuses.count(200), fates(registry)

    answered, counted = asyncio.run(story())
    assert answered == 20
    assert counted["dropped"] == 40, "every event of the twenty pairs is accounted for"
