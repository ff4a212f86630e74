"""What goes wrong on a cluster, in the whole loop: each trouble ends in a condition on the Detector and in an
event, and the loop goes on without hands. One decision at a time is looked at in test_troubles."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from homeostat.eventing.broker.log import EventLog
from homeostat.eventing.messages import TrainingFailed, TuningFailed, WorkHindered, WorkResumed
from tests.cluster.callers import Server
from tests.cluster.players import (
    complete,
    detector,
    end_search,
    event,
    fail,
    land,
    searched,
    started,
    tick,
)
from tests.cluster.test_chain import serve, try_out
from tests.cluster.town import Town, town


@pytest.fixture
def running(cluster: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    cluster.remove("Detector", "pump")
    with town(cluster, tmp_path, monkeypatch) as found:
        yield found


def told(found: Town, kind: type[TrainingFailed | TuningFailed | WorkHindered | WorkResumed]) -> list[str]:
    """The reasons that events of that type give."""
    texts = [orjson.loads(one.data or b"{}") for one in found.events() if one.attributes["type"] == kind.type]
    return [str(one.get("error") or one.get("reason")) for one in texts]


def dead(found: Town) -> list[str]:
    log = EventLog(found.folder / "broker.db")
    try:
        return [f"{one.trigger}: {one.reason}" for one in log.dead()]
    finally:
        log.close()


def train_again(found: Town, *before: str) -> str:
    """New rows: the loop goes on."""
    found.clock.later(minutes=2)
    land(found, f"more-{len(before)}.csv")
    name = started(found, *before)
    complete(found, name)
    return name


def test_a_detector_deleted_while_it_trains_leaves_a_dead_letter_and_may_come_again(running: Town) -> None:
    """What is said of it has nowhere to be stated but there."""
    running.apply(detector(running))
    land(running, "first.csv")
    run = started(running)
    running.server.remove("Detector", "pump")
    complete(running, run)
    running.until(lambda: any("judge-candidate: " in one for one in dead(running)))
    assert "apply a Detector of that name first" in dead(running)[0]
    running.apply(detector(running))
    running.clock.later(minutes=1)
    land(running, "again.csv")
    name = started(running, run)
    complete(running, name)
    try_out(running, name)
    running.until(lambda: (running.status()["serving"] or {}).get("name") == name)


def test_a_run_that_vanishes_is_a_run_that_failed(running: Town) -> None:
    running.apply(detector(running))
    land(running, "first.csv")
    run = started(running)
    running.pipelines.stored["runs"].clear()
    tick(running)
    running.until(lambda: running.status()["run"]["missed"])
    running.clock.later(minutes=3)
    tick(running)
    running.until(lambda: running.condition("Trained") == ("False", "RunVanished"))
    running.until(lambda: told(running, TrainingFailed))
    assert "vanished" in told(running, TrainingFailed)[0]
    name = train_again(running, run)
    try_out(running, name)
    running.until(lambda: running.condition("Trained") == ("True", "RunCompleted"))


def test_a_run_that_fails_says_so_and_the_next_one_is_not_held_up(running: Town) -> None:
    running.apply(detector(running))
    land(running, "first.csv")
    run = started(running)
    fail(running, run)
    running.until(lambda: running.condition("Trained") == ("False", "RunFailed"))
    train_again(running, run)
    running.until(lambda: running.condition("Trained") == ("True", "RunCompleted"))


def test_a_canary_that_is_never_ready_gives_way(running: Town) -> None:
    first = serve(running)
    running.serving.ready = lambda uri: uri.endswith(first)
    second = train_again(running, first)
    running.until(lambda: running.status()["canary"])
    tick(running)
    running.clock.later(minutes=6)
    tick(running)
    running.until(lambda: running.condition("RolledOut") == ("False", "NeverReady"))
    running.until(lambda: "canary.rolledback" in running.types())
    assert running.status()["serving"]["name"] == first
    assert running.serving.traffic == {f"{running.settings.models_root}/{first}": 100}
    running.serving.ready = lambda _: True
    third = train_again(running, first, second)
    try_out(running, third, first)


def test_a_search_that_fails_is_told_and_training_goes_on(running: Town) -> None:
    first = serve(running)
    running.clock.later(minutes=2)
    running.post(event("dev.homeostat.tuning.requested", {"force": True}, subject="pump"))
    end_search(running, searched(running), good=False)
    running.until(lambda: running.condition("Tuned") == ("False", "ExperimentFailed"))
    running.until(lambda: told(running, TuningFailed))
    assert "ExperimentMaxFailedTrials" in told(running, TuningFailed)[0]
    train_again(running, first)


def test_a_token_that_expired_is_waited_for_until_it_is_renewed(running: Town) -> None:
    running.apply(detector(running))
    land(running, "first.csv")
    run = started(running)
    good, running.tokens["judge-candidate"] = running.tokens["judge-candidate"], "expired"
    complete(running, run)
    running.until(lambda: any(one.code == 401 for one in running.server.calls))
    time.sleep(0.2)
    running.tokens["judge-candidate"] = good
    running.until(lambda: running.condition("Reachable") == ("True", "Recovered"))
    running.until(lambda: told(running, WorkResumed))
    assert "the token was not accepted" in told(running, WorkResumed)[0]
    try_out(running, run)


def test_an_api_server_that_starts_again_is_waited_for(running: Town) -> None:
    """A real one that is back answers 429 until it has read its storage, and 403 until it knows who may."""
    running.apply(detector(running))
    with running.server.away():
        land(running, "first.csv")
        time.sleep(3)  # our client asks four times
    running.until(lambda: running.condition("Reachable") == ("True", "Recovered"))
    running.until(lambda: told(running, WorkResumed))
    assert re.search("no answer|429|grant", told(running, WorkResumed)[0])
    run = started(running)
    complete(running, run)
    try_out(running, run)


def test_a_right_that_is_missing_is_stated_and_its_grant_is_enough(running: Town) -> None:
    first = serve(running)
    role = running.server.get("Role", "roll-out")
    assert role is not None
    less = [one for one in role["rules"] if "serving.kserve.io" not in one["apiGroups"]]
    running.server.put({**role, "rules": less})
    second = train_again(running, first)
    running.until(lambda: told(running, WorkHindered))
    assert "grant the verb get on inferenceservices.serving.kserve.io" in told(running, WorkHindered)[0]
    running.until(lambda: running.condition("CarriedOut") == ("False", "Forbidden"))
    running.server.put(role)
    running.until(lambda: running.condition("CarriedOut") == ("True", "Recovered"))
    try_out(running, second, first)
