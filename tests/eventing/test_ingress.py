"""The broker's door, over real HTTP: 202 means on disk; everything else says why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import httpx
import pytest
import uvicorn

from homeostat.eventing.batch import BATCHED, encode_batch
from homeostat.eventing.broker import Broker
from homeostat.eventing.broker.log import EventLog
from homeostat.eventing.wire import STRUCTURED, WireEvent, encode, encode_structured
from tests.eventing.brokers import Subscriber, event, running, until

HEADERS = {"ce-id": "1", "ce-source": "/s", "ce-type": "t", "ce-specversion": "1.0"}


@asynccontextmanager
async def served(broker: Broker) -> AsyncIterator[httpx.AsyncClient]:
    # A client that waits for its turn on a busy machine must not find its connection closed.
    config = uvicorn.Config(broker.app, port=0, log_level="critical", lifespan="off", timeout_keep_alive=120)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        yield client
    server.should_exit = True
    await task


def test_202_only_after_the_event_is_on_disk(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path, Subscriber()) as broker, served(broker) as client:
            answer = await client.post("/homeostat/default", headers=HEADERS, content=b"{}")
            assert answer.status_code == 202
            # Read by another connection, while the broker has not been told to flush anything.
            assert [one.event.attributes["id"] for one in EventLog(tmp_path / "broker.db").events()] == ["1"]

    asyncio.run(story())


def test_structured_mode_is_taken_too(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path, Subscriber()) as broker, served(broker) as client:
            body = encode_structured(event("7", "pump"))
            headers = {"content-type": STRUCTURED}
            answer = await client.post("/homeostat/default", headers=headers, content=body)
            assert answer.status_code == 202
            assert EventLog(tmp_path / "broker.db").events()[0].event.attributes["subject"] == "pump"

    asyncio.run(story())


def test_a_batch_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path, Subscriber()) as broker, served(broker) as client:
            headers = {"content-type": BATCHED}
            whole = encode_batch([event("1", "pump"), event("2", "pump")])
            answer = await client.post("/homeostat/default", headers=headers, content=whole)
            assert answer.status_code == 202
            broken = encode_batch([event("3"), WireEvent({"id": "4", "specversion": "1.0", "type": "t"})])
            answer = await client.post("/homeostat/default", headers=headers, content=broken)
            assert (answer.status_code, answer.json()["faults"][0]["field"]) == (400, "batch[1].source")
            assert [one.event.attributes["id"] for one in EventLog(tmp_path / "broker.db").events()] == [
                "1",
                "2",
            ]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "said"),
    [
        ("POST", "/homeostat/default", {}, b"hello", 400, "ce-id"),
        ("POST", "/homeostat/default", {**HEADERS, "ce-specversion": "0.3"}, b"", 400, "specversion"),
        ("POST", "/homeostat/default", HEADERS, b"x" * 1048577, 413, "1048576"),
        ("POST", "/homeostat/other", HEADERS, b"", 404, "/homeostat/default"),
        ("GET", "/homeostat/default", HEADERS, b"", 405, "POST"),
    ],
)
def test_what_is_refused_is_told_why(
    tmp_path: Path, method: str, path: str, headers: dict[str, str], body: bytes, status: int, said: str
) -> None:
    async def story() -> None:
        async with running(tmp_path, Subscriber()) as broker, served(broker) as client:
            answer = await client.request(method, path, headers=headers, content=body)
            assert answer.status_code == status
            assert said in answer.text
            assert {"field", "value", "mend"} == set(answer.json()["faults"][0])
        assert EventLog(tmp_path / "broker.db").events() == []

    asyncio.run(story())


def test_a_body_that_grows_over_the_limit_unannounced_is_cut(tmp_path: Path) -> None:
    async def story() -> None:
        async def endless() -> AsyncIterator[bytes]:
            for _ in range(64):
                yield b"x" * 65536

        async with running(tmp_path, Subscriber()) as broker, served(broker) as client:
            answer = await client.post("/homeostat/default", headers=HEADERS, content=endless())
            assert answer.status_code == 413

    asyncio.run(story())


def test_a_stopping_broker_asks_to_come_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path, Subscriber()) as broker, served(broker) as client:
            broker.app.open = False
            answer = await client.post("/homeostat/default", headers=HEADERS, content=b"{}")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")

    asyncio.run(story())


def test_ten_thousand_events_from_32_clients_none_lost_each_effect_once(tmp_path: Path) -> None:
    async def story() -> None:
        listener = Subscriber()
        effects: set[str] = set()
        # httpx costs five times what the broker does; ten thousand of its requests would measure httpx.
        async with (
            running(tmp_path, listener) as broker,
            served(broker) as slow,
            aiohttp.ClientSession() as quick,
        ):

            async def post(number: int) -> None:
                for one in range(number, 10_000, 32):
                    headers, body = encode(event(str(one), f"s{one % 100}"))
                    url = f"{slow.base_url}/homeostat/default"
                    async with quick.post(url, headers=dict(headers), data=body) as answer:
                        assert answer.status == 202

            await asyncio.gather(*(post(number) for number in range(32)))
            await until(lambda: len(listener.got) >= 10_000, 30)
            effects.update(listener.got)
        assert effects == {str(number) for number in range(10_000)}
        assert len(listener.got) == 10_000

    asyncio.run(story())
