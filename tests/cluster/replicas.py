"""One replica of a function over the API: it calls under its own ServiceAccount, with a token that lies in a
file, and writes down what it is told to do. `from_call` begins a trouble when the API is asked that often."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson

from homeostat.eventing.wire import WireEvent
from homeostat.functions.detector import Detector
from homeostat.infra.cluster.access import Bearer, token_in
from homeostat.infra.cluster.client import Objects
from homeostat.infra.cluster.detectors import DetectorObjects
from homeostat.infra.shell import Host, finish_all, handle
from tests.cluster.answers import Refused
from tests.cluster.api_server import ApiServer
from tests.cluster.callers import NAMESPACE, PATIENCE
from tests.functions.detectors import NOON

TIMEOUT = 0.15


class Anything(dict[Any, Any]):
    """One answer for every key."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self._answer = answer

    def __missing__(self, _: Any) -> Any:
        return self._answer


@dataclass
class Replica:
    server: ApiServer
    function: str
    token: Path
    now: datetime = NOON
    done: list[Any] = field(default_factory=list)
    emitted: list[WireEvent] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    before_each: Callable[[str], None] = lambda _: None
    observers: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.token.write_text(self.server.token(NAMESPACE, self.function))
        self._calls = 0
        self._begin: tuple[int, Callable[[], None]] | None = None
        http = httpx.Client(
            base_url=self.server.url,
            auth=Bearer(token_in(self.token)),
            timeout=TIMEOUT,
            event_hooks={"request": [self._counted]},
        )
        self.detectors = DetectorObjects(Objects(http, NAMESPACE, PATIENCE), self.function)

        async def execute(command: Any, detector: Detector) -> None:
            self.before_each("execute")
            self._fail()
            self.done.append(command)

        async def emit(events: Sequence[WireEvent]) -> None:
            self.before_each("emit")
            self.emitted += events

        self.host = Host(self.detectors, emit, Anything(execute), self.observers, lambda: self.now)

    def _counted(self, _: httpx.Request) -> None:
        self._calls += 1
        if self._begin and self._calls == self._begin[0]:
            self._begin[1]()

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)

    def from_call(self, number: int, begin: Callable[[], None]) -> None:
        self._begin = self._calls + number, begin

    def handle(self, event: WireEvent) -> None:
        asyncio.run(handle(self.function, event, self.host))

    def finish_all(self) -> None:
        asyncio.run(finish_all(self.host))

    def later(self, **by: float) -> None:
        self.now += timedelta(**by)

    def told(self, kind: Any) -> list[dict[str, Any]]:
        """The data of what was emitted, by type."""
        return [orjson.loads(one.data or b"") for one in self.emitted if one.attributes["type"] == kind.type]


def status_of(server: ApiServer, name: str = "pump") -> dict[str, Any]:
    found = server.get("Detector", name)
    assert found is not None
    return dict(found.get("status", {}))


def condition(server: ApiServer, kind: str, name: str = "pump") -> tuple[str, str, str] | None:
    """Status, reason and message."""
    for one in status_of(server, name).get("conditions", ()):
        if one["type"] == kind:
            return one["status"], one["reason"], one["message"]
    return None


# --- troubles: each begins when it is entered, and is over when it is left ----------------------------------
@contextlib.contextmanager
def answering(server: ApiServer, replica: Replica, code: int, retry_after: str = "0") -> Iterator[None]:
    server.troubles += [
        Refused(code, "", "not now", headers={"Retry-After": retry_after})
    ] * PATIENCE.attempts
    yield
    server.troubles.clear()


@contextlib.contextmanager
def away(server: ApiServer, replica: Replica) -> Iterator[None]:
    """It restarts: nobody listens at its address meanwhile."""
    with server.away():
        yield


@contextlib.contextmanager
def mute(server: ApiServer, replica: Replica) -> Iterator[None]:
    """At its address somebody takes what is sent and never answers."""
    with server.away(), socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        silent.bind(("127.0.0.1", int(server.url.rpartition(":")[2])))
        silent.listen(16)
        yield


@contextlib.contextmanager
def expired(server: ApiServer, replica: Replica) -> Iterator[None]:
    """The token is not taken any more, until the kubelet writes a new one into the file."""
    server.accounts.pop(replica.token.read_text())
    yield
    replica.token.write_text(server.token(NAMESPACE, replica.function))
