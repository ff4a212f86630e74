"""The engine of training runs: real pipelines in real children, told once, resumed after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import uvicorn

from homeostat.eventing.broker.ingress import Ingress
from homeostat.eventing.messages import StartTraining, TrainingCompleted, TrainingFailed
from homeostat.eventing.wire import WireEvent
from homeostat.functions.detector import Cause
from homeostat.functions.spec import Spec
from homeostat.infra.local.runs import Runs
from homeostat.models.simulator import CHANNELS
from tests.eventing.brokers import until
from tests.pipelines.test_steps import rows

CAUSE = Cause(id="cause-1", correlationid="first", hops=2)


class Sink:
    """A broker's door that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[WireEvent] = []
        self.url = ""

    async def accept(self, events: Sequence[WireEvent]) -> None:
        self.events += events

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [
            {**orjson.loads(one.data or b"{}"), "attributes": one.attributes}
            for one in self.events
            if one.attributes["type"] == kind
        ]


@asynccontextmanager
async def engine(folder: Path) -> AsyncIterator[tuple[Runs, Sink]]:
    """A started engine whose children post over real HTTP."""
    sink = Sink()
    door = Ingress([("homeostat", "default")], sink.accept, 1 << 20)
    door.open = True
    server = uvicorn.Server(uvicorn.Config(door, port=0, log_level="critical", lifespan="off"))
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/homeostat/default"
    runs = Runs(
        folder / "state",
        sink=url,
        tracking_uri=f"sqlite:///{folder / 'mlflow.db'}",
        emit=sink.accept,
    )
    await runs.start()
    try:
        yield runs, sink
    finally:
        await runs.stop()
        server.should_exit = True
        await task


def spec(folder: Path, **retrain: Any) -> Spec:
    data = {"uri": f"{folder}/", "channels": list(CHANNELS), "label": "anomaly"}
    return Spec.model_validate({"data": data, "features": {"window": 20}, "retrain": retrain})


def command(folder: Path, run: str, *, drop: str | None = None) -> StartTraining:
    file = folder / f"{run}.csv"
    frame = rows(1500)
    (frame.drop(columns=drop) if drop else frame).to_csv(file, sep=";", index=False)
    return StartTraining(
        run=run,
        detector="pump",
        data=(str(file),),
        candidates=("isolation-forest",),
        parameters={"isolation-forest": {"trees": 20}},
        champion=None,
    )


def versions(folder: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as db:
        query = "SELECT value FROM model_version_tags WHERE key = 'homeostat.run'"
        return [value for (value,) in db.execute(query)]


def test_a_run_trains_registers_once_and_tells_its_end_citing_its_cause(tmp_path: Path) -> None:
    async def story() -> None:
        async with engine(tmp_path) as (runs, sink):
            chosen = command(tmp_path, "pump-1")
            for _ in range(3):
                await runs.submit(chosen, spec(tmp_path), CAUSE)
            await until(lambda: runs.states() == {"pump-1": "succeeded"}, 120)
        (told,) = sink.told(TrainingCompleted.type)
        assert told["attributes"]["causationid"] == "cause-1"
        assert told["attributes"]["correlationid"] == "first"
        assert told["metrics"]["vus_pr"] is not None
        assert told["rows"] == 1500
        assert (Path(told["uri"]) / "manifest.json").is_file()
        assert versions(tmp_path) == ["pump-1"]

    asyncio.run(story())


def test_a_run_that_fails_tells_the_step_and_the_reason(tmp_path: Path) -> None:
    async def story() -> None:
        async with engine(tmp_path) as (runs, sink):
            await runs.submit(command(tmp_path, "pump-2", drop="Pressure"), spec(tmp_path), CAUSE)
            await until(lambda: runs.states() == {"pump-2": "failed"}, 60)
        (told,) = sink.told(TrainingFailed.type)
        assert told["step"] == "ingest"
        assert "Pressure" in told["error"]

    asyncio.run(story())


def test_a_run_that_takes_too_long_is_ended_and_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with engine(tmp_path) as (runs, sink):
            await runs.submit(command(tmp_path, "pump-3"), spec(tmp_path, timeout="1s"), CAUSE)
            await until(lambda: runs.states() == {"pump-3": "failed"}, 60)
        (told,) = sink.told(TrainingFailed.type)
        assert "spec.retrain.timeout" in told["error"]

    asyncio.run(story())


@pytest.mark.slow
def test_an_interrupted_run_goes_on_as_the_same_run(tmp_path: Path) -> None:
    async def story() -> None:
        async with engine(tmp_path) as (runs, _):
            await runs.submit(command(tmp_path, "pump-4"), spec(tmp_path), CAUSE)
            await until(lambda: runs.states() == {"pump-4": "running"})
            await asyncio.sleep(2)
        async with engine(tmp_path) as (runs, sink):
            await until(lambda: runs.states() == {"pump-4": "succeeded"}, 120)
        assert len(sink.told(TrainingCompleted.type)) == 1
        assert versions(tmp_path) == ["pump-4"]

    asyncio.run(story())


def test_a_child_that_is_killed_is_told_as_a_failure(tmp_path: Path) -> None:
    async def story() -> None:
        async with engine(tmp_path) as (runs, sink):
            await runs.submit(command(tmp_path, "pump-5"), spec(tmp_path), CAUSE)
            lock = tmp_path / "state" / "runs" / "pump-5" / "lock"
            await until(lambda: lock.exists())
            os.kill(_child(tmp_path), signal.SIGKILL)
            await until(lambda: runs.states() == {"pump-5": "failed"}, 60)
        (told,) = sink.told(TrainingFailed.type)
        assert "-9" in told["error"]

    asyncio.run(story())


def _child(folder: Path) -> int:
    import psutil

    for process in psutil.Process().children():
        if str(folder) in " ".join(process.cmdline()):
            return process.pid
    pytest.fail("the run has no child process")
