"""Real Alertmanagers tell a gateway of alerts that fire and end: each is one event, whoever tells it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from homeostat.eventing import codec
from homeostat.eventing.broker.log import EventLog
from homeostat.eventing.gateway.app import gateway
from homeostat.eventing.gateway.matching import Matcher
from homeostat.eventing.messages import AlertFired, AlertResolved
from homeostat.eventing.wire import WireEvent
from tests.eventing.brokers import Subscriber, running
from tests.scenarios.alertmanagers import Alertmanager


@dataclass(frozen=True)
class Door:
    """A gateway's address, and the events of a type that the broker behind it has on disk."""

    url: str
    events: Callable[[str], Sequence[WireEvent]]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """A gateway that uvicorn serves before an embedded broker."""
    server: list[uvicorn.Server] = []

    async def serve() -> None:
        async with running(tmp_path, Subscriber()) as broker:
            app = gateway(broker.accept, Matcher({}), max_body=1024 * 1024)
            server.append(uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off")))
            await server[0].serve()

    def events(kind: str) -> list[WireEvent]:
        found = (one.event for one in EventLog(tmp_path / "broker.db").events())
        return [one for one in found if one.attributes["type"] == kind]

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        waited_for(lambda: server and server[0].started, "the gateway")
        port = server[0].servers[0].sockets[0].getsockname()[1]
        yield Door(f"http://127.0.0.1:{port}", events)
    finally:
        for one in server:
            one.should_exit = True
        thread.join(20)


def waited_for(true: Callable[[], Any], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def alert(started: datetime, ends: datetime, **labels: str) -> dict[str, Any]:
    return {
        "labels": {"alertname": "AnomalyRateShift", "severity": "warning", **labels},
        "annotations": {"summary": "the anomaly rate left its band"},
        "startsAt": started.isoformat(),
        "endsAt": ends.isoformat(),
        "generatorURL": "http://prometheus:9090/graph",
    }


def test_a_group_that_fires_and_ends_is_told_once_by_two_peers(door: Door, tmp_path: Path) -> None:
    webhook = f"{door.url}/alertmanager"
    started = datetime.now(UTC)
    with (
        Alertmanager(tmp_path / "one", webhook).running() as one,
        Alertmanager(tmp_path / "two", webhook).running() as two,
    ):

        def tell(ends: datetime) -> None:
            alerts = [alert(started, ends, detector="pump"), alert(started, ends, detector="press")]
            for peer in (one, two):
                peer.tell([*alerts, alert(started, ends, service="unnamed")])

        def told(kind: str, notifications: int) -> bool:
            """By both, so that what the second tells is there too, if it counts."""
            sent = min(one.sent(), two.sent()) >= notifications
            return sent and len(door.events(kind)) >= 3

        tell(started + timedelta(hours=1))
        waited_for(lambda: told(AlertFired.type, 1), "both to tell that it fires")
        fired = [codec.parse(event) for event in door.events(AlertFired.type)]
        assert sorted(str(context.subject) for _, context in fired) == ["None", "press", "pump"]

        before = max(one.sent(), two.sent())
        tell(datetime.now(UTC))
        waited_for(lambda: told(AlertResolved.type, before + 1), "both to tell that it ended")
        resolved = [codec.parse(event) for event in door.events(AlertResolved.type)]
        assert len(door.events(AlertFired.type)) == len(resolved) == 3
        assert _prints(message for message, _ in fired) == _prints(message for message, _ in resolved)


def _prints(messages: Any) -> set[tuple[str, str]]:
    return {(one.fingerprint, one.starts_at) for one in messages}
