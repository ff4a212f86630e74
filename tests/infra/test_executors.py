"""Every command has an executor in this home, and what is served follows the status as it is now."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from homeostat.eventing.messages import COMMANDS, Promote, StartCanary
from homeostat.functions.detector import Canary, Cause, Detector, Revision, Status
from homeostat.functions.spec import CanarySpec, Spec
from homeostat.infra.local.executors import EXECUTORS, Machine, bound
from homeostat.infra.local.router import Router
from homeostat.infra.local.serving import Desired, Served, Serving
from homeostat.infra.local.store import Store
from homeostat.infra.outcome import Outcome
from homeostat.infra.shell import Host, finish_all

NOW = datetime(2026, 11, 23, tzinfo=UTC)
CAUSE = Cause(id="c", correlationid="c")
OLD, NEW = (
    Revision(name=name, uri=f"/models/{name}", algorithm="isolation-forest", version="1")
    for name in ("old", "new")
)


class Kept(Serving):
    """The serving engine without its processes: what it is told to serve is what is looked at here."""

    def _reconcile(self, detector: str) -> None:
        return


def store(folder: Path, **status: Any) -> tuple[Store, Detector]:
    """A store whose detector `pump` has this status, claimed with an outcome that was never carried out."""
    detectors = Store(folder / "detectors.db")
    detectors.apply("pump", Spec.model_validate({"data": {"uri": "/d/", "channels": ["a"]}}))
    found = detectors.snapshot("pump", NOW, CAUSE)
    assert found is not None
    detector, version = found
    changed = detector.model_copy(update={"status": Status(**status)})
    late = Outcome(changed, [Promote(detector="pump", revision="new", uri="/models/new")], [])
    assert detectors.commit("pump", version, changed.status, "key", late)
    return detectors, changed


def test_every_command_has_an_executor_and_nothing_else_has() -> None:
    assert set(EXECUTORS) == set(COMMANDS)


def test_a_promotion_that_comes_late_does_not_undo_the_rollback_after_it(tmp_path: Path) -> None:
    async def story() -> Desired | None:
        detectors, detector = store(tmp_path, serving=OLD)
        serving = Kept(tmp_path, Router())
        await serving.start()
        execute = bound(Machine(detectors, None, serving))  # type: ignore[arg-type]
        await execute[Promote](Promote(detector="pump", revision="new", uri="/models/new"), detector)
        desired = serving.desired("pump")
        await serving.stop()
        detectors.close()
        return desired

    assert asyncio.run(story()) == Desired("pump", Served("old", "/models/old"), None, 0)


@pytest.mark.parametrize("shadow", [False, True])
def test_a_canary_is_served_beside_the_stable_revision(tmp_path: Path, shadow: bool) -> None:
    async def story() -> Desired | None:
        canary = Canary(revision=NEW, percent=20, shadow=shadow, started=NOW, step_started=NOW, cause=CAUSE)
        detectors, detector = store(tmp_path, serving=OLD, canary=canary)
        detectors.apply("pump", detector.spec.model_copy(update={"canary": CanarySpec(key="x-user")}))
        serving = Kept(tmp_path, Router())
        await serving.start()
        execute = bound(Machine(detectors, None, serving))  # type: ignore[arg-type]
        command = StartCanary(detector="pump", revision="new", uri="/models/new", percent=20)
        for _ in range(2):
            await execute[StartCanary](command, detector)
        await serving.stop()
        again = Kept(tmp_path, Router())
        await again.start()
        desired = again.desired("pump")
        await again.stop()
        detectors.close()
        return desired

    sides = Served("old", "/models/old"), Served("new", "/models/new")
    assert asyncio.run(story()) == Desired("pump", *sides, 20, shadow=shadow, key="x-user")


def test_what_was_desired_before_there_were_shadows_is_desired_still() -> None:
    stored = b'{"detector":"pump","stable":{"revision":"a","uri":"/m/a"},"canary":null,"percent":0}'
    assert Desired.load(stored) == Desired("pump", Served("a", "/m/a"), None, 0)


def test_what_was_decided_and_never_carried_out_is_finished_at_the_next_start(tmp_path: Path) -> None:
    async def story() -> list[str]:
        detectors, _ = store(tmp_path, serving=NEW)
        done: list[str] = []

        async def promote(command: Promote, _: Detector) -> None:
            done.append(command.revision)

        async def emit(_: object) -> None:
            return

        host = Host(detectors, emit, {Promote: promote})
        for _ in range(2):
            await finish_all(host)
        detectors.close()
        return done

    assert asyncio.run(story()) == ["new"]
