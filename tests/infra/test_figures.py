"""A canary's figures, from real model servers behind a real router, and from Prometheus."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from homeostat.functions.canary import LATENCY_BUCKETS_MS, SCORE_BUCKETS, CanaryFacts
from homeostat.functions.detector import RevisionFigures
from homeostat.infra.local.figures import canary_facts, query
from homeostat.infra.local.serving import Desired
from tests.infra.serving_home import BODY, Home, home, save_artifacts, served


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_artifacts(tmp_path_factory.mktemp("artifacts"))


async def on_trial(here: Home, artifacts: dict[str, Path], percent: int) -> None:
    desired = Desired("pump", served(artifacts, "pump-a"), served(artifacts, "pump-b"), percent)
    await here.serving.desire(desired)
    await here.until_serves("pump-a", "pump-b")


def test_both_revisions_are_counted_and_a_frozen_one_has_no_figures(
    artifacts: dict[str, Path], tmp_path: Path
) -> None:
    async def story() -> None:
        async with home(tmp_path, canary_timeout=aiohttp.ClientTimeout(total=0.3)) as here:
            assert await canary_facts(here.serving, "pump", "pump-b") == CanaryFacts(ready=False)
            await on_trial(here, artifacts, 50)
            fresh = await canary_facts(here.serving, "pump", "pump-b")
            assert fresh.canary == RevisionFigures(
                latency=(0,) * (len(LATENCY_BUCKETS_MS) + 1), scores=(0,) * (len(SCORE_BUCKETS) + 1)
            )

            answers = [(await here.predict())[1] for _ in range(40)]
            facts = await canary_facts(here.serving, "pump", "pump-b")
            assert facts.ready
            for figures, revision in ((facts.stable, "pump-a"), (facts.canary, "pump-b")):
                assert figures is not None
                asked = answers.count(revision)
                assert 0 < figures.requests == asked == sum(figures.latency)
                assert (figures.errors, figures.rows) == (0, asked * len(BODY["instances"]))
                assert (len(figures.scores), sum(figures.scores)) == (len(SCORE_BUCKETS) + 1, figures.rows)
                assert len(figures.latency) == len(LATENCY_BUCKETS_MS) + 1

            await on_trial(here, artifacts, 100)
            pid = here.pid("pump-b")
            os.kill(pid, signal.SIGSTOP)
            try:
                assert [(await here.predict())[:2] for _ in range(3)] == [(200, "pump-a")] * 3
                frozen = await canary_facts(here.serving, "pump", "pump-b")
                assert frozen.canary is None, "not to be had is not zero"
                assert frozen.stable is not None
            finally:
                os.kill(pid, signal.SIGCONT)
            after = (await canary_facts(here.serving, "pump", "pump-b")).canary
            assert after is not None
            assert after.errors == 3

    asyncio.run(story())


# --- Prometheus ------------------------------------------------------------------------------------------
@asynccontextmanager
async def prometheus_like(answers: dict[str, list[dict[str, Any]]], status: int = 200) -> AsyncIterator[str]:
    """A server that answers instant queries as Prometheus' HTTP API does, by the metrics' names."""

    async def instant(request: Request) -> JSONResponse:
        found: list[Any] = []
        for asked in request.query_params["query"].split(" or "):
            figure = re.search(r'"figure", "(\w+)"', asked)
            labels = {"figure": figure[1]} if figure else {}
            key = next((key for key in answers if key in asked), "")
            found += [{**one, "metric": one["metric"] | labels} for one in answers.get(key, [])]
        result = {"resultType": "vector", "result": found}
        return JSONResponse({"status": "success", "data": result}, status)

    app = Starlette(routes=[Route("/api/v1/query", instant)])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


def sample(value: float, **labels: str) -> dict[str, Any]:
    return {"metric": labels, "value": [1764000000.0, str(value)]}


FULL: dict[str, list[dict[str, Any]]] = {
    'outcome="error"': [sample(2)],
    "homeostat_router_requests_total": [sample(10)],
    "homeostat_rows_total": [sample(600)],
    "homeostat_anomalies_total": [sample(9)],
    "homeostat_router_latency_seconds_bucket": [
        sample(10, le="+Inf"),
        sample(4, le="0.001"),
        sample(9, le="0.002"),
    ],
    "homeostat_scores_bucket": [sample(600, le="+Inf"), sample(500, le="0.1")],
}


def ask(answers: dict[str, list[dict[str, Any]]], status: int = 200) -> RevisionFigures | None:
    async def story() -> RevisionFigures | None:
        async with prometheus_like(answers, status) as url:
            return await asyncio.to_thread(query, url, "pump", "pump-b")

    return asyncio.run(story())


def test_prometheus_answers_become_figures() -> None:
    wanted = RevisionFigures(
        requests=10, errors=2, rows=600, anomalies=9, latency=(4, 5, 1), scores=(500, 100)
    )
    assert ask(FULL) == wanted


@pytest.mark.parametrize("missing", FULL)
def test_a_query_that_returns_nothing_is_no_figure(missing: str) -> None:
    assert ask({**FULL, missing: []}) is None


@pytest.mark.parametrize("metric", ["homeostat_rows_total", "homeostat_scores_bucket"])
def test_a_figure_that_is_no_number_is_no_figure(metric: str) -> None:
    broken = {**FULL[metric][0], "value": [1764000000.0, "NaN"]}
    assert ask({**FULL, metric: [broken, *FULL[metric][1:]]}) is None


def test_a_prometheus_that_fails_or_is_gone_gives_no_figure() -> None:
    assert ask(FULL, status=503) is None
    assert query("http://127.0.0.1:9", "pump", "pump-b") is None


@asynccontextmanager
async def prometheus(folder: Path, home_url: str, targets: Path) -> AsyncIterator[str]:
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("no prometheus on the PATH: apt-get install prometheus")
    scrape = [
        {"job_name": "home", "static_configs": [{"targets": [home_url.removeprefix("http://")]}]},
        {
            "job_name": "model-servers",
            "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "1s"}],
        },
    ]
    document = {"global": {"scrape_interval": "500ms", "scrape_timeout": "400ms"}, "scrape_configs": scrape}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(document))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    own = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    process = await asyncio.create_subprocess_exec(
        binary, *own, f"--web.listen-address={address}", stderr=subprocess.DEVNULL
    )
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        await process.wait()


def test_a_real_prometheus_tells_what_the_scrape_tells(artifacts: dict[str, Path], tmp_path: Path) -> None:
    async def story() -> None:
        async with home(tmp_path / "state") as here:
            targets = tmp_path / "state" / "prometheus" / "model-servers.json"
            async with prometheus(tmp_path, here.url, targets) as url:
                await on_trial(here, artifacts, 50)
                for _ in range(20):
                    assert (await here.predict())[0] == 200
                scraped = await canary_facts(here.serving, "pump", "pump-b")
                for _ in range(40):
                    told = await canary_facts(here.serving, "pump", "pump-b", prometheus_url=url)
                    if told == scraped:
                        break
                    await asyncio.sleep(0.5)
                assert told == scraped

    asyncio.run(story())
