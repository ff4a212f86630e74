"""Two replicas of a function that are fed the same events at the same time perform each action once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from homeostat.eventing.errors import Retry
from homeostat.eventing.wire import WireEvent
from homeostat.functions.detector import Batch, Status
from homeostat.infra.cluster.host import function_host
from homeostat.infra.shell import Host, handle
from tests.cluster.callers import Server, detector
from tests.cluster.players import event
from tests.cluster.town import Town, town

NOW = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
READY = Status(
    batches=(Batch(uri="s3://plant/pump/a.csv", etag="e", rows=90_000, landed=NOW),), new_rows=90_000
)


@pytest.mark.parametrize("count", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_two_replicas_fed_the_same_events_begin_each_run_once(
    cluster: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Kubeflow knows no unique names: where both begin a run at the same moment, one of the two is ended."""
    names = [f"pump-{number}" for number in range(count)]
    with town(cluster, tmp_path, monkeypatch) as found:
        cluster.put(*({**detector(name), "status": READY.model_dump(mode="json")} for name in names))
        wanted = [event("dev.homeostat.training.requested", {"force": True}, subject=name) for name in names]
        replicas = [replica(found) for _ in range(2)]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda host: asyncio.run(feed(wanted, host)), replicas))
        at_work = [name for name, state in found.pipelines.runs() if state == "PENDING"]
        began = [(cluster.get("Detector", name) or {})["status"]["run"]["name"] for name in names]
        assert sorted(at_work) == sorted(began)
        assert replicas[0].detectors.unfinished() == []


def replica(found: Town) -> Host:
    name = "plan-retraining"
    return function_host(name, found.settings, found.http(name))


async def feed(events: list[WireEvent], host: Host) -> None:
    for one in events:
        for _ in range(50):
            try:
                await handle("plan-retraining", one, host)
                break
            except Retry:
                await asyncio.sleep(0.01)
        else:
            raise AssertionError("never taken")
