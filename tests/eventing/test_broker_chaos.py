"""Subscribers that fail, hang and answer garbage, and a broker that is killed again and again: no event is
lost, none is delivered after its success was written down, subjects keep their order, and the dead letters
are those that must be.

The subscriber outlives the broker. Between a subscriber's yes and the moment that it is on disk a kill can
fall, and no broker in the world can know then: those events come once more, right after the restart, at most
as many as were on their way. An answer later than the Trigger's timeout is none, so the timeout here is
longer than a busy machine makes anybody wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import sys
from collections import defaultdict
from pathlib import Path

import httpx
import pytest
import yaml

from homeostat.eventing.broker.control import Control
from homeostat.eventing.broker.courier import CONCURRENCY
from tests.eventing.brokers import until

SUBJECTS, RETRY = 40, 6
BROKER = """
import asyncio, sys, uvicorn
from pathlib import Path
from homeostat.eventing.broker import Broker
async def main():
    folder = Path(sys.argv[1])
    broker = Broker(folder / "broker.db", [folder / "chaos.yaml"], lambda destination: destination.uri)
    await broker.start()
    config = uvicorn.Config(broker.app, port=int(sys.argv[2]), log_level="critical", lifespan="off")
    await uvicorn.Server(config).serve()
asyncio.run(main())
"""
TROUBLE = ("500", "503", "429", "404", "garbage", "close") * 4 + ("hang",)


def plan(identity: str) -> tuple[str, int]:
    """What happens to an event, and how often before it goes well; `poison` and `never` never do."""
    chance = random.Random(identity)
    if chance.random() < 0.85:
        return "ok", 0
    if chance.random() < 0.1:
        return chance.choice(("poison", "never")), 10_000
    # A hang costs the timeout each time, and holds up what is behind it.
    trouble = chance.choice(TROUBLE)
    return trouble, 1 if trouble == "hang" else chance.randint(1, 2)


class Subscriber:
    """A server on a raw socket, for no server library answers garbage. Knows which broker process asked."""

    def __init__(self) -> None:
        self.generation = 0
        self.deliveries: list[tuple[int, str, str, bool]] = []
        """Broker process, trigger, event and whether it went well, as they came."""
        self._tries: dict[tuple[str, str], int] = defaultdict(int)
        self._over = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()

    async def end(self) -> None:
        """Every handler comes to its end: what is left to the garbage collector upsets what comes after."""
        self._over.set()
        for writer in self._open:
            writer.close()
        await until(lambda: not self._open)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        generation = self.generation
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                headers = dict(
                    line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:] if ": " in line
                )
                await reader.readexactly(int(headers.get("content-length", 0)))
                writer.write(
                    await self._answer(generation, head.split(b" ")[1].decode()[1:], headers["ce-id"])
                )
                await writer.drain()
        writer.close()
        self._open.discard(writer)

    async def _answer(self, generation: int, trigger: str, identity: str) -> bytes:
        trouble, times = plan(identity)
        tried = self._tries[trigger, identity]
        self._tries[trigger, identity] += 1
        well = tried >= times
        self.deliveries.append((generation, trigger, identity, well))
        if well:
            return b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
        if trouble == "garbage":
            return b"\x00\xff not HTTP at all\r\n\r\n"
        if trouble == "close":
            raise ConnectionError
        if trouble == "hang":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), 15)
        code = {"poison": "400", "never": "500", "hang": "202"}.get(trouble, trouble)
        return f"HTTP/1.1 {code} x\r\nretry-after: 0\r\ncontent-length: 3\r\n\r\nbad".encode()


def manifests(folder: Path, port: int) -> None:
    meta = {"apiVersion": "eventing.knative.dev/v1"}
    delivery = {"retry": RETRY, "backoffPolicy": "linear", "backoffDelay": "PT0.02S", "timeout": "PT10S"}
    broker = {
        **meta,
        "kind": "Broker",
        "metadata": {"name": "default", "namespace": "homeostat"},
        "spec": {"delivery": delivery},
    }
    triggers = [
        {
            **meta,
            "kind": "Trigger",
            "metadata": {"name": name, "namespace": "homeostat"},
            "spec": {
                "broker": "default",
                "subscriber": {"uri": f"http://127.0.0.1:{port}/{name}"},
                **({"filters": filters} if filters else {}),
            },
        }
        for name, filters in (("all", None), ("odd", [{"cesql": "ABS(INT(number)) % 2 = 1"}]))
    ]
    (folder / "chaos.yaml").write_text(yaml.safe_dump_all([broker, *triggers]))


async def post(client: httpx.AsyncClient, subject: int, count: int) -> None:
    """Events of one subject, one after the other, each until it is accepted."""
    for number in range(count):
        headers = {
            "ce-id": f"{subject}-{number}",
            "ce-source": "/chaos",
            "ce-type": "t",
            "ce-specversion": "1.0",
            "ce-subject": str(subject),
            "ce-number": str(number),
        }
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await client.post("/homeostat/default", headers=headers, content=b"{}")
                if answer.status_code == 202:
                    break
                assert answer.status_code == 503, answer.text
            await asyncio.sleep(0.02)


async def chaos(folder: Path, events: int, kills: int, seconds: tuple[float, float]) -> Subscriber:
    subscriber, chance = Subscriber(), random.Random(events)
    server = await asyncio.start_server(subscriber.handle, "127.0.0.1", 0)
    manifests(folder, server.sockets[0].getsockname()[1])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    limits = httpx.Limits(max_connections=SUBJECTS)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, limits=limits) as client:
        posts = [asyncio.create_task(post(client, one, events // SUBJECTS)) for one in range(SUBJECTS)]
        for generation in range(kills + 1):
            subscriber.generation = generation
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", BROKER, str(folder), str(port))
            if generation < kills:
                await up(port)
                await asyncio.sleep(chance.uniform(*seconds))
            else:
                await asyncio.gather(*posts)
                await settled(folder)
            child.kill()
            await child.wait()
            # What the dead process still had under way is heard before the next one begins.
            await asyncio.sleep(0.2)
    server.close()
    await subscriber.end()
    return subscriber


async def up(port: int) -> None:
    """Wait until the broker listens."""
    for _ in range(600):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)
    pytest.fail("the broker does not start")


async def settled(folder: Path) -> None:
    control = Control(folder / "broker.db")
    for _ in range(3000):
        if not any(control.log.lag().values()):
            control.close()
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"still behind: {control.triggers()}")


def holds(folder: Path, subscriber: Subscriber, events: int, kills: int) -> None:
    numbers = range(events // SUBJECTS)
    sent = {f"{subject}-{number}" for subject in range(SUBJECTS) for number in numbers}
    wanted = {"all": sent, "odd": {one for one in sent if int(one.split("-")[1]) % 2}}
    control = Control(folder / "broker.db")
    for trigger, expected in wanted.items():
        doomed = {one for one in expected if plan(one)[0] in ("poison", "never")}
        went_well = {one for _, name, one, well in subscriber.deliveries if name == trigger and well}
        assert went_well == expected - doomed
        letters = [one.event.attributes["id"] for one in control.letters(trigger=trigger)]
        assert sorted(letters) == sorted(doomed)
        assert doomed
        again = repeated(subscriber, trigger)
        assert len(again) <= CONCURRENCY * kills, "more than were on their way"
        in_order(subscriber, trigger)
    control.close()


def repeated(subscriber: Subscriber, trigger: str) -> list[str]:
    """Events delivered after they went well: only by a later process, which could not know."""
    done: dict[str, int] = {}
    again = []
    for generation, name, identity, well in subscriber.deliveries:
        if name != trigger:
            continue
        if identity in done:
            assert generation > done[identity], f"{identity} was delivered after its success"
            again.append(identity)
        if well:
            done[identity] = generation
    return again


def in_order(subscriber: Subscriber, trigger: str) -> None:
    newest: dict[str, int] = {}
    for _, name, identity, _ in subscriber.deliveries:
        if name == trigger:
            subject, number = identity.split("-")
            assert newest.get(subject, -1) <= int(number), f"{identity} came late"
            newest[subject] = int(number)


@pytest.mark.slow
def test_nothing_is_lost_or_repeated_while_everything_fails(tmp_path: Path) -> None:
    subscriber = asyncio.run(chaos(tmp_path, 1200, 4, (0.2, 0.6)))
    holds(tmp_path, subscriber, 1200, 4)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_thousand_events_survive_fifty_kills(tmp_path: Path) -> None:
    subscriber = asyncio.run(chaos(tmp_path, 10_000, 50, (0.1, 1.2)))
    holds(tmp_path, subscriber, 10_000, 50)
