"""Rollouts by hand: what is asked for is posted, what cannot be meant is refused with its exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from typer.testing import CliRunner, Result

from homeostat.eventing import codec, wire
from homeostat.eventing.messages import ApprovalGiven, Event, RollbackRequested, RolloutRequested
from homeostat.eventing.wire import WireEvent
from homeostat.functions.detector import Held, Incident, Status
from homeostat.infra.cli import cli
from homeostat.infra.local.store import Store
from homeostat.infra.outcome import Outcome
from homeostat.infra.terminal import out
from tests.cluster.ports import on_a_port
from tests.functions.detectors import NOON, canary, cause, detector, revision, spec

STEERING = ["promote", "rollback", "pause", "resume"]
ON_TRIAL = {"serving": revision("r1"), "canary": canary("r2", 25)}
PAUSED = {"serving": revision("r1"), "canary": canary("r2", 25, paused=True)}


class Home:
    """A state with one Detector, and a broker that takes whatever it is sent."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.taken: list[WireEvent] = []
        self.store = Store(state / "detectors.db")
        self.store.apply("pump", spec())

    def holds(self, **status: Any) -> None:
        found = self.store.snapshot("pump", NOON, cause())
        assert found is not None
        nothing = Outcome(detector=detector(), commands=[], events=[])
        assert self.store.commit("pump", found[1], Status(**status), f"to {found[1]}", nothing)

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(cli, [*words, "--state", str(self.state)])

    def said(self) -> list[Event]:
        return [codec.parse(one)[0] for one in self.taken]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    found = Home(tmp_path)

    async def take(request: Request) -> Response:
        found.taken.append(wire.decode(request.headers.items(), await request.body()))
        return Response(status_code=202)

    with (
        closing(found.store),
        on_a_port(Starlette(routes=[Route("/sink", take, methods=["POST"])])) as url,
    ):
        (tmp_path / "home.json").write_bytes(orjson.dumps({"sink": f"{url}/sink"}))
        yield found


@pytest.mark.parametrize(("verb", "status"), [("promote", ON_TRIAL), ("pause", ON_TRIAL), ("resume", PAUSED)])
def test_a_canary_is_steered_by_an_event_that_says_who_and_why(
    home: Home, verb: str, status: dict[str, Any]
) -> None:
    home.holds(**status)
    done = home.run(verb, "pump", "--reason", "seen enough", "--by", "ada", "--output", "json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    (event,) = home.taken
    assert home.said() == [RolloutRequested(action=verb, by="ada", reason="seen enough")]  # type: ignore[arg-type]
    assert event.attributes["subject"] == "pump"
    assert (told["id"], told["action"], told["revision"]) == (event.attributes["id"], verb, "r2")


def test_a_rollback_names_the_revision_that_was_seen(home: Home) -> None:
    home.holds(**ON_TRIAL)
    assert "r2" in home.run("rollback", "pump", "--reason", "false alarms", "--by", "ada").stdout
    home.holds(serving=revision("r2"), previous=revision("r1"))
    assert home.run("rollback", "pump").exit_code == 0
    assert home.said() == [
        RollbackRequested(reason="false alarms (ada)", revision="r2"),
        RollbackRequested(reason="by hand", revision="r2"),
    ]


@pytest.mark.parametrize("verb", STEERING)
def test_what_is_not_there_cannot_be_steered(home: Home, verb: str) -> None:
    home.holds(serving=revision("r1"))
    refused = home.run(verb, "pump")
    assert (refused.exit_code, "no canary" in refused.stderr, home.taken) == (3, True, [])


@pytest.mark.parametrize(
    ("verb", "status", "mend"),
    [("pause", PAUSED, "homeostat resume"), ("resume", ON_TRIAL, "homeostat pause")],
)
def test_what_is_so_already_is_told_with_what_would_change_it(
    home: Home, verb: str, status: dict[str, Any], mend: str
) -> None:
    home.holds(**status)
    refused = home.run(verb, "pump")
    assert (refused.exit_code, mend in refused.stderr, home.taken) == (1, True, [])


@pytest.mark.parametrize("verb", [*STEERING, "approve"])
def test_an_unknown_detector_is_told_beside_the_known(home: Home, verb: str) -> None:
    refused = home.run(verb, "fan")
    assert (refused.exit_code, "known: pump" in refused.stderr) == (1, True)


def test_what_waits_for_approval_is_listed_and_approved(home: Home) -> None:
    held = Held(id="h1", function="roll-out", commands=("Promote r2",), type="t", data={}, cause=cause())
    home.holds(held=(held,))
    assert home.run("approve", "pump").stdout == "h1  Promote r2\n"
    listed = json.loads(home.run("approve", "pump", "-o", "json").stdout)
    assert listed == [{"id": "h1", "function": "roll-out", "commands": ["Promote r2"]}]
    assert home.run("approve", "pump", "h2").exit_code == 3
    assert (
        json.loads(home.run("approve", "pump", "h1", "--by", "ada", "-o", "json").stdout)["approves"] == "h1"
    )
    assert home.said() == [ApprovalGiven(approves="h1", by="ada")]
    assert home.taken[0].attributes["causationid"] == "h1"


def test_status_shows_a_paused_canary_a_shadow_and_the_alerts_that_fire(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(out, "width", 200)
    incidents = [
        Incident(fingerprint=f"f{one}", starts_at="", alertname=f"A{one}", action="retrain", since=NOON)
        for one in range(7)
    ]
    home.holds(**PAUSED, incidents=tuple(incidents))
    table = home.run("status", "pump").stdout
    for said in ("r2 25 %, paused", "fires since 12:00:00: A6 (retrain)", "and 2 older ones"):
        assert said in table
    home.holds(serving=revision("r1"), canary=canary("r2", shadow=True))
    assert "r2 shadow" in home.run("status", "pump").stdout
