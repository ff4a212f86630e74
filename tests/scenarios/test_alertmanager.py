"""Real Alertmanagers tell a running home of alerts that fire and end: each is one event, whoever tells it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from homeostat.eventing import codec
from homeostat.eventing.messages import AlertFired, AlertResolved
from homeostat.eventing.wire import WireEvent
from tests.scenarios.alertmanagers import Alertmanager
from tests.scenarios.homes import RunningHome


@dataclass(frozen=True)
class Door:
    """A gateway's address with a token for Alertmanager's door, and the home's accepted events of a type."""

    url: str
    token: str
    events: Callable[[str], Sequence[WireEvent]]


@pytest.fixture(scope="module")
def door(home: RunningHome) -> Door:
    """The running home's, which asks for a token from now on."""
    command = [sys.executable, "-m", "homeostat.infra.cli", "tokens", "create", "alertmanager"]
    command += ["--state", str(home.settings.state)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    url = f"{home.settings.url}/gateway"
    waited_for(lambda: httpx.post(f"{url}/alertmanager").status_code == 401, "the door to be closed")
    return Door(url, made.stdout.strip(), home.events)


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
        Alertmanager(tmp_path / "one", webhook, door.token).running() as one,
        Alertmanager(tmp_path / "two", webhook, door.token).running() as two,
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


@pytest.mark.parametrize("token", [None, "homeostat-wrong"], ids=["none", "a-wrong-one"])
def test_an_alertmanager_without_the_token_is_refused_and_nothing_lands(
    door: Door, tmp_path: Path, token: str | None
) -> None:
    def landed() -> int:
        return len(door.events(AlertFired.type))

    before, started = landed(), datetime.now(UTC)
    with Alertmanager(tmp_path / "stranger", f"{door.url}/alertmanager", token).running() as stranger:
        stranger.tell([alert(started, started + timedelta(hours=1), detector=f"of-{token}".lower())])
        waited_for(lambda: "unexpected status code 401" in stranger.log(), "the refusal in its log")
        assert stranger.sent() == 0
    assert landed() == before


def test_a_token_of_another_door_is_told_so(door: Door, home: RunningHome) -> None:
    command = [sys.executable, "-m", "homeostat.infra.cli", "tokens", "create", "storage"]
    command += ["--state", str(home.settings.state)]
    other = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    headers = {"authorization": f"Bearer {other}"}

    def answer() -> httpx.Response:
        return httpx.post(f"{door.url}/alertmanager", headers=headers, json={})

    waited_for(lambda: answer().status_code == 403, "the token to be known")
    assert "alertmanager" in answer().text
    headers["authorization"] = f"Bearer {door.token}"
    assert answer().status_code == 400  # let in, and then read
