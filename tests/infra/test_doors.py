"""The home's doors: where each path leads, who may listen how wide, and how our own come in."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from homeostat.eventing.doors import DOORS
from homeostat.eventing.doors.calling import trust
from homeostat.eventing.doors.token_file import create
from homeostat.eventing.errors import Reject
from homeostat.infra.local.client import home, post
from homeostat.infra.local.doors import announce, child_environment, guarded, may_start, tls_options
from homeostat.infra.local.settings import Settings
from tests.eventing.doors.asgi import Counting, ask, bearer
from tests.eventing.doors.certificates import certificate
from tests.eventing.doors.test_binding import Served

LEADS = {
    "/gateway/alertmanager": "alertmanager",
    "/gateway/grafana": "grafana",
    "/gateway/storage/s3": "storage",
    "/gateway/events": "events",
    "/gateway/unmatched": "admin",
    "/functions/roll-out/": "admin",
    "/metrics": "admin",
    "/serving/pump/v1/models/pump:predict": "serving",
    "/homeostat/default": "broker",
    "/": "broker",
}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOMEOSTAT_TOKEN", "HOMEOSTAT_BROKER_TOKEN", "HOMEOSTAT_TLS_CERT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def chosen(tmp_path: Path) -> Settings:
    return Settings(state=tmp_path)


@pytest.mark.parametrize(("path", "door"), LEADS.items())
def test_each_path_leads_to_one_door(chosen: Settings, path: str, door: str) -> None:
    made = {name: create(chosen.tokens_file, name)[1] for name in DOORS}
    guard = guarded(Counting(), chosen, may_start(chosen))
    statuses = {name: asyncio.run(ask(guard, path, bearer(one))).status for name, one in made.items()}
    assert statuses == {name: 202 if name == door else 403 for name in DOORS}
    assert asyncio.run(ask(guard, path)).status == 401


def test_a_home_on_loopback_asks_for_nothing_until_it_is_told_to(chosen: Settings) -> None:
    guard = guarded(Counting(), chosen, may_start(chosen))
    assert {asyncio.run(ask(guard, path)).status for path in LEADS} == {202}


def test_a_home_that_others_reach_does_not_start_bare(chosen: Settings) -> None:
    wide = chosen.model_copy(update={"host": "0.0.0.0"})
    with pytest.raises(Reject, match="homeostat tokens create serving"):
        may_start(wide)
    for name in DOORS[1:]:
        create(wide.tokens_file, name)
    with pytest.raises(Reject, match="homeostat tokens create broker") as told:
        may_start(wide)
    assert len(told.value.faults) == 1
    create(wide.tokens_file, "broker")
    guard = guarded(Counting(), wide, may_start(wide))
    assert {asyncio.run(ask(guard, path)).status for path in LEADS} == {401}


def test_a_signature_secures_its_door(chosen: Settings) -> None:
    wide = chosen.model_copy(update={"host": "0.0.0.0"})
    for name in DOORS:
        if name != "grafana":
            create(wide.tokens_file, name)
    signing = {"doors": {"grafana": {"scheme": "grafana", "secrets": ["sixteen letters!"]}}}
    wide.signatures_file.write_text(json.dumps(signing))
    wide.signatures_file.chmod(0o600)
    guard = guarded(Counting(), wide, may_start(wide))
    assert asyncio.run(ask(guard, "/gateway/grafana")).status == 401


def test_rates_are_settings_and_0_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEOSTAT_RATES", '{"alertmanager": 1, "broker": 0}')
    chosen = Settings(state=tmp_path)
    guard = guarded(Counting(), chosen, may_start(chosen))

    async def run(path: str) -> list[int]:
        return [(await ask(guard, path)).status for _ in range(4)]

    assert asyncio.run(run("/gateway/alertmanager")) == [202, 202, 429, 429]
    assert asyncio.run(run("/homeostat/default")) == [202] * 4


def test_settings_tell_what_is_wrong_with_them(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="no door cellar"):
        Settings(rates={"cellar": 1})
    with pytest.raises(ValidationError, match="0 for no limit"):
        Settings(rates={"broker": -1})
    with pytest.raises(ValidationError, match="IP address"):
        Settings(host="example.org")
    with pytest.raises(Reject, match="TLS needs both"):
        may_start(Settings(state=tmp_path, tls_cert=tmp_path / "x"))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("localhost", "http://localhost:8080"),
        ("::1", "http://[::1]:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("10.1.2.3", "http://10.1.2.3:8080"),
    ],
)
def test_our_own_callers_know_where_a_home_is_whatever_it_listens_at(host: str, url: str) -> None:
    chosen = Settings().model_copy(update={"host": host})
    assert chosen.url == url
    secure = chosen.model_copy(update={"tls_cert": Path("x")})
    assert secure.sink == url.replace("http", "https") + "/homeostat/default"


def test_a_token_does_not_show_in_what_is_printed_of_the_settings() -> None:
    assert "sesame" not in repr(Settings(token="sesame", broker_token="sesame"))  # type: ignore[arg-type]


class Up:
    """A home's doors, served: what `homeostat up` does with them."""

    def __init__(self, chosen: Settings) -> None:
        self.app = Counting()
        tokens = may_start(chosen)
        self.token = tokens.admit("broker")
        self.served = Served(guarded(self.app, chosen, tokens), **tls_options(chosen))
        self.settings = chosen.model_copy(update={"port": self.served.port})
        announce(self.settings, self.token)


@pytest.fixture(params=["plain", "tls"])
def up(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Up]:
    files = certificate(tmp_path / "tls", "homeostat.example") if request.param == "tls" else (None, None)
    chosen = Settings(state=tmp_path, tls_cert=files[0], tls_key=files[1])
    create(chosen.tokens_file, "broker")
    running = Up(chosen)
    yield running
    running.served.stop()


CHILD = """
import asyncio
from homeostat.eventing.wire import WireEvent
from homeostat.infra.local.host import function_host
event = {"id": "1", "source": "/test", "type": "t", "specversion": "1.0"}
asyncio.run(function_host().emit([WireEvent(event)]))
"""


def test_a_child_comes_in_with_the_token_of_its_environment(up: Up) -> None:
    given = child_environment(up.settings, up.token)

    bare = httpx.post(up.settings.sink, verify=trust(up.settings.tls_cert))
    assert (bare.status_code, up.app.bodies) == (401, [])
    command = [sys.executable, "-c", CHILD]
    ended = subprocess.run(command, env=os.environ | given, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert len(up.app.bodies) == 1


def test_the_command_line_comes_in_with_what_the_home_left_for_its_user(up: Up) -> None:
    assert stat.S_IMODE(up.settings.address_file.stat().st_mode) == 0o600
    plain = Settings(state=up.settings.state)
    assert post(plain, "dev.homeostat.training.requested", "pump", {})
    assert len(up.app.bodies) == 1


def test_a_persons_own_token_comes_first(up: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEOSTAT_TOKEN", "hst_broker_wrong")
    with pytest.raises(Reject, match="homeostat tokens create broker"):
        post(Settings(state=up.settings.state), "dev.homeostat.training.requested", "pump", {})
    _, own = create(up.settings.tokens_file, "broker")
    monkeypatch.setenv("HOMEOSTAT_TOKEN", own)
    assert home(Settings(state=up.settings.state)).token == own


@pytest.mark.parametrize("content", ["", "[]", "{}", "null"])
def test_a_damaged_address_is_told_with_the_mend(chosen: Settings, content: str) -> None:
    chosen.address_file.write_text(content)
    with pytest.raises(Reject, match="start the home again"):
        home(chosen)
