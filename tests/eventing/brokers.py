"""A broker on a temporary file with one trigger, and a subscriber that does as it is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from homeostat.eventing.broker import Broker
from homeostat.eventing.wire import WireEvent


def event(identity: str, subject: str | None = None, kind: str = "t", data: bytes = b"{}") -> WireEvent:
    core = {"id": identity, "source": "/test", "type": kind, "specversion": "1.0"}
    return WireEvent(core | ({"subject": subject} if subject else {}), data)


class Subscriber:
    """An ASGI app. `answer` says the status for an event's id and how often it has come already."""

    def __init__(self, answer: Callable[[str, int], int] = lambda *_: 202) -> None:
        self.got: list[str] = []
        self._times: Counter[str] = Counter()
        self.headers: list[dict[bytes, bytes]] = []
        self.reply: tuple[list[tuple[bytes, bytes]], bytes] = ([], b"")
        self.extra: list[tuple[bytes, bytes]] = []
        self.hang = 0.0
        self._answer = answer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = dict(scope["headers"])
        identity = headers[b"ce-id"].decode()
        before = self._times[identity]
        self._times[identity] += 1
        self.got.append(identity)
        self.headers.append(headers)
        await asyncio.sleep(self.hang)
        status = self._answer(identity, before)
        more, body = self.reply if 200 <= status < 300 else (self.extra, b"because")
        await send({"type": "http.response.start", "status": status, "headers": more})
        await send({"type": "http.response.body", "body": body})


def manifests(folder: Path, delivery: dict[str, Any], **trigger: Any) -> list[Path]:
    broker = {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Broker",
        "metadata": {"name": "default", "namespace": "homeostat"},
        "spec": {"delivery": delivery},
    }
    listener = {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Trigger",
        "metadata": {"name": "listener", "namespace": "homeostat"},
        "spec": {
            "broker": "default",
            "subscriber": {"ref": {"apiVersion": "v1", "kind": "Service", "name": "listener"}},
            **trigger,
        },
    }
    file = folder / "manifests.yaml"
    file.write_text(yaml.safe_dump_all([broker, listener]))
    return [file]


FAST = {"retry": 3, "backoffPolicy": "linear", "backoffDelay": "PT0.01S", "timeout": "PT1S"}


@asynccontextmanager
async def running(
    folder: Path, subscriber: Any, delivery: dict[str, Any] | None = None, **trigger: Any
) -> AsyncIterator[Broker]:
    """A started broker; `subscriber` may be a dict of apps by name."""
    apps = subscriber if isinstance(subscriber, dict) else {"listener": subscriber}
    files = manifests(folder, delivery or FAST, **trigger)
    broker = Broker(folder / "broker.db", files, lambda destination: apps[destination.name])
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop(2)


async def until(true: Callable[[], object], seconds: float = 10) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not true():
        assert asyncio.get_running_loop().time() < deadline, "waited in vain"
        await asyncio.sleep(0.01)
