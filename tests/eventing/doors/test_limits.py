"""Limits: too much, too slow and too often each get their own answer, and room is there again afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from homeostat.eventing.doors import Door, Guard, Limits, Rate, Tokens
from homeostat.eventing.doors.limits import Buckets, client_key
from homeostat.eventing.doors.token_file import create
from tests.eventing.doors.asgi import Answer, Counting, ask, bearer


class Clock:
    def __init__(self) -> None:
        self.at = 50.0

    def __call__(self) -> float:
        return self.at


def guard(folder: Path, app: Any, door: Door | None = None, **limits: Any) -> Guard:
    return Guard(app, {"/": door or Door(name="broker")}, Tokens(folder / "t.json"), limits=Limits(**limits))


def test_an_announced_body_is_refused_before_a_byte_of_it(tmp_path: Path) -> None:
    app = Counting()
    answer = asyncio.run(ask(guard(tmp_path, app, max_body=100), headers={"content-length": "101"}))
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert app.scopes == []
    absurd = asyncio.run(ask(guard(tmp_path, app, max_body=100), headers={"content-length": "9" * 5000}))
    assert absurd.status == 413


def test_a_body_that_grows_too_large_is_cut_off(tmp_path: Path) -> None:
    app = Counting()
    one = guard(tmp_path, app, max_body=100)
    assert asyncio.run(ask(one, body=[b"x" * 50, b"x" * 50])).status == 202
    assert asyncio.run(ask(one, body=[b"x" * 50, b"x" * 50, b"x"])).status == 413
    assert app.bodies == [b"x" * 100]


def test_a_door_may_take_more_or_less_than_the_rest(tmp_path: Path) -> None:
    one = guard(tmp_path, Counting(), Door(name="broker", max_body=10), max_body=100)
    assert asyncio.run(ask(one, body=b"x" * 11)).status == 413


def test_a_slow_body_is_answered_408_and_a_pause_before_its_end_is_not(tmp_path: Path) -> None:
    app = Counting()
    one = guard(tmp_path, app, body_seconds=0.2)
    begun = time.monotonic()
    answer = asyncio.run(ask(one, body=[b"x", 30.0, b"y"]))
    assert time.monotonic() - begun < 5
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert asyncio.run(ask(one, body=[b"x", 0.05, b"y"])).status == 202
    assert app.bodies == [b"xy"]


def test_drops_that_never_end_do_not_keep_a_request_alive(tmp_path: Path) -> None:
    drops: list[bytes | float] = [b"x", 0.05] * 200
    begun = time.monotonic()
    assert asyncio.run(ask(guard(tmp_path, Counting(), body_seconds=0.3), body=drops)).status == 408
    assert time.monotonic() - begun < 5


def test_many_slow_ones_end_in_time_and_none_is_kept(tmp_path: Path) -> None:
    one = guard(tmp_path, Counting(), body_seconds=0.2)

    async def all_of_them() -> Sequence[Answer]:
        return await asyncio.gather(
            *(ask(one, body=[b"x", 9.0, b""]) for _ in range(100)), ask(one, body=b"x")
        )

    begun = time.monotonic()
    answers = asyncio.run(all_of_them())
    assert time.monotonic() - begun < 5
    assert [answer.status for answer in answers] == [408] * 100 + [202]
    assert one._watch._waiting == {}


def test_an_app_that_answers_slowly_is_not_cut_off(tmp_path: Path) -> None:
    async def thoughtful(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(0.4)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    assert asyncio.run(ask(guard(tmp_path, thoughtful, body_seconds=0.1))).status == 200


def test_an_app_that_does_not_read_leaves_nothing_behind(tmp_path: Path) -> None:
    async def deaf(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    one = guard(tmp_path, deaf)
    assert asyncio.run(ask(one, body=[b"x", b"y"])).status == 404
    assert one._watch._waiting == {}


def test_a_cancelled_request_stays_cancelled(tmp_path: Path) -> None:
    async def run() -> None:
        task = asyncio.create_task(ask(guard(tmp_path, Counting()), body=[b"x", 30.0, b""]))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_starlette_is_told_quietly_that_its_client_is_gone(tmp_path: Path) -> None:
    async def reads(request: Request) -> Response:
        await request.body()
        return Response()

    app = Starlette(routes=[Route("/", reads, methods=["POST"])])
    assert asyncio.run(ask(guard(tmp_path, app, body_seconds=0.1), body=[b"x", 9.0, b""])).status == 408
    assert asyncio.run(ask(guard(tmp_path, app, max_body=3), body=[b"xx", b"xx"])).status == 413


def test_too_often_is_answered_429_with_the_wait_and_room_comes_back(tmp_path: Path) -> None:
    one = guard(tmp_path, Counting(), Door(name="broker", rate=Rate(2, 3)))

    async def run() -> None:
        assert [(await ask(one)).status for _ in range(4)] == [202, 202, 202, 429]
        refused = await ask(one)
        assert refused.headers["retry-after"] == "1"
        assert refused.faults[0]["field"] == "rate"
        assert (await ask(one, client=("10.0.0.9", 1))).status == 202, "another client has its own rate"
        await asyncio.sleep(0.55)
        assert [(await ask(one)).status for _ in range(2)] == [202, 429]

    asyncio.run(run())


def test_a_long_wait_is_told_as_it_is(tmp_path: Path) -> None:
    one = guard(tmp_path, Counting(), Door(name="broker", rate=Rate(0.1, 1)))
    assert asyncio.run(ask(one)).status == 202
    assert 9 <= int(asyncio.run(ask(one)).headers["retry-after"]) <= 10


def test_strangers_do_not_use_up_what_a_door_takes_in_total(tmp_path: Path) -> None:
    _, token = create(tmp_path / "t.json", "broker")
    one = guard(tmp_path, Counting(), Door(name="broker", total=Rate(1, 2)))

    async def run() -> list[int]:
        strangers = [(await ask(one)).status for _ in range(20)]
        assert strangers == [401] * 20
        friends = [await ask(one, headers=bearer(token), client=(f"10.0.0.{n}", 1)) for n in range(3)]
        return [friend.status for friend in friends]

    assert asyncio.run(run()) == [202, 202, 429]


def test_one_ipv6_host_is_one_client() -> None:
    assert client_key(("2001:db8::1", 1)) == client_key(("2001:db8::ffff:2%eth0", 2))
    assert client_key(("2001:db8:0:1::1", 1)) != client_key(("2001:db8::1", 1))
    assert client_key(("10.0.0.1", 1)) != client_key(("10.0.0.2", 1))
    assert client_key(None) == ""
    assert len(client_key((":" * 100_000, 0))) <= 64


def test_memory_is_bounded_however_many_come() -> None:
    clock = Clock()
    buckets = Buckets(Rate(1, 1), most=100, clock=clock)
    sizes = []
    for n in range(5000):
        buckets.take(f"client {n}")
        sizes.append(len(buckets))
    assert max(sizes) <= 101
    clock.at += 10
    for n in range(200):
        buckets.take(f"later {n}")
    assert len(buckets) <= 101


def test_who_waits_is_not_forgotten_for_those_who_do_not() -> None:
    clock = Clock()
    buckets = Buckets(Rate(1, 1), most=100, clock=clock)
    for n in range(90):
        buckets.take(f"early {n}")
    clock.at += 2
    assert buckets.take("greedy") == 0
    for n in range(50):
        buckets.take(f"late {n}")
    assert buckets.take("greedy") > 0


@given(
    rate=st.floats(0.1, 100),
    burst=st.integers(1, 20),
    steps=st.lists(st.floats(0, 2), min_size=1, max_size=200),
)
def test_never_more_than_the_burst_and_the_rate_together(rate: float, burst: int, steps: list[float]) -> None:
    clock = Clock()
    buckets = Buckets(Rate(rate, burst), clock=clock)
    begun, passed = clock.at, 0
    for step in steps:
        clock.at += step
        wait = buckets.take("one")
        passed += wait == 0
        assert passed <= burst + rate * (clock.at - begun) + 1e-6
        if wait:
            clock.at += wait + 1e-6
            assert buckets.take("one") == 0, "the wait that was told is enough"
            passed += 1


def test_a_rate_that_lets_nothing_through_is_refused() -> None:
    for wrong in ((0, 1), (-1, 1), (1, 0.5), (float("nan"), 1)):
        with pytest.raises(ValueError, match="nothing through"):
            Rate(*wrong)
