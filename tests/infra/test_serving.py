"""Serving on one machine, with real model servers behind a real router."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from homeostat.eventing.errors import Reject
from homeostat.infra.local.model_server import Phase
from homeostat.infra.local.router import Router
from homeostat.infra.local.serving import Desired, Served, Serving
from tests.infra.serving_home import Home, home, save_artifacts, served


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_artifacts(tmp_path_factory.mktemp("artifacts"))


@asynccontextmanager
async def load(home: Home, clients: int = 4) -> AsyncIterator[Counter[tuple[int, str | None]]]:
    """Clients that ask without a pause; counts answers by status and revision."""
    answers: Counter[tuple[int, str | None]] = Counter()
    going = True

    async def ask() -> None:
        while going:
            status, revision, _ = await home.predict()
            answers[status, revision] += 1

    tasks = [asyncio.create_task(ask()) for _ in range(clients)]
    try:
        yield answers
    finally:
        going = False
        await asyncio.gather(*tasks)


def test_promotion_and_rollback_under_load_fail_no_request(
    artifacts: dict[str, Path], tmp_path: Path
) -> None:
    async def story() -> None:
        async with home(tmp_path) as here:
            a, b = served(artifacts, "pump-a"), served(artifacts, "pump-b")
            assert (await here.predict())[0] == 404
            await here.serving.desire(Desired("pump", a, None, 0))
            status, _, document = await here.predict()
            assert status == 503
            assert "no ready revision yet" in str(document)
            await here.until_serves("pump-a")

            async with load(here) as answers:
                await here.serving.desire(Desired("pump", a, b, 50))
                await here.until_serves("pump-a", "pump-b")
                await here.until(lambda: answers[200, "pump-b"] > 50)
                pid = here.pid("pump-b")
                await here.serving.desire(Desired("pump", b, None, 0))
                await here.until(lambda: ("pump", "pump-a") not in here.serving.conditions())
                assert here.pid("pump-b") == pid, "a promoted canary keeps its process"
                await here.serving.desire(Desired("pump", a, None, 0))
                await here.until(lambda: ("pump", "pump-b") not in here.serving.conditions())
                before = answers[200, "pump-a"]
                await here.until(lambda: answers[200, "pump-a"] > before + 50)
            assert {status for status, _ in answers} == {200}
            assert sum(answers.values()) > 200

    asyncio.run(story())


def test_a_killed_server_starts_again_and_the_desire_outlives_the_engine(
    artifacts: dict[str, Path], tmp_path: Path
) -> None:
    async def first() -> None:
        async with home(tmp_path) as here:
            await here.serving.desire(Desired("pump", served(artifacts, "pump-a"), None, 0))
            await here.until_serves("pump-a")
            pid = here.pid("pump-a")
            os.kill(pid, signal.SIGKILL)
            await here.until(lambda: not here.serving.ready("pump", "pump-a"))
            status, _, document = await here.predict()
            assert status == 503, document
            await here.until_serves("pump-a")
            assert here.pid("pump-a") != pid
            assert (await here.predict())[:2] == (200, "pump-a")

    async def second() -> None:
        async with home(tmp_path) as here:
            assert here.serving.desired("pump") == Desired("pump", served(artifacts, "pump-a"), None, 0)
            await here.until_serves("pump-a")
            assert (await here.predict())[:2] == (200, "pump-a")

    before = set(psutil.Process().children())
    asyncio.run(first())
    assert set(psutil.Process().children()) <= before, "stopping the engine ends its processes"
    asyncio.run(second())


def test_a_tampered_canary_is_reported_and_gets_no_traffic(
    artifacts: dict[str, Path], tmp_path: Path
) -> None:
    async def story() -> None:
        async with home(tmp_path) as here:
            stable, bad = served(artifacts, "pump-a"), served(artifacts, "pump-bad")
            await here.serving.desire(Desired("pump", stable, bad, 100))

            def condition() -> Phase:
                return here.serving.conditions()["pump", "pump-bad"].phase

            await here.until(lambda: condition() is Phase.FAILED)
            await here.until_serves("pump-a")
            message = here.serving.conditions()["pump", "pump-bad"].message
            assert "weights.safetensors is corrupted" in message
            assert not here.serving.ready("pump", "pump-bad")
            assert (await here.predict())[:2] == (200, "pump-a")
            await asyncio.sleep(1)
            assert condition() is Phase.FAILED, "it is not started again"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("desired", "field"),
    [
        (Desired("../pump", None, None, 0), "detector"),
        (Desired("pump", Served("--help", "/x"), None, 0), "revision"),
        (Desired("pump", Served("pump-a", "/x"), None, 101), "percent"),
        (Desired("pump", Served("pump-a", "/x"), Served("pump-a", "/x"), 5), "canary"),
    ],
)
def test_a_desire_that_cannot_be_is_refused_by_field(desired: Desired, field: str, tmp_path: Path) -> None:
    async def story() -> None:
        serving = Serving(tmp_path, Router())
        await serving.start()
        try:
            with pytest.raises(Reject) as refused:
                await serving.desire(desired)
            assert [fault.field for fault in refused.value.faults] == [field]
            assert serving.desired(desired.detector) is None
        finally:
            await serving.stop()

    asyncio.run(story())
