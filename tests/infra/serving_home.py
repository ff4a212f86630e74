"""A router on a real port with real model servers behind it, as the tests of this room use it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
import uvicorn
from prometheus_client import generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from homeostat.infra.local.router import Router
from homeostat.infra.local.serving import Served, Serving
from homeostat.models import artifact
from homeostat.models.fitting import fit

CHANNELS = ("pressure", "flow")
BODY = {"instances": [[0.1, 0.2], [0.3, 0.1]]}


def save_artifacts(root: Path) -> dict[str, Path]:
    """Two sound artifacts, and one whose weights were changed after it was saved."""
    rows = np.random.default_rng(7).normal(size=(400, 2))
    for seed, name in enumerate(("pump-a", "pump-b")):
        fitted = fit(
            "isolation-forest", rows, channels=CHANNELS, window=4, parameters={"trees": 10}, seed=seed
        )
        artifact.save(fitted, root / name, {})
    shutil.copytree(root / "pump-a", root / "pump-bad")
    weights = root / "pump-bad" / artifact.WEIGHTS
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return {name: root / name for name in ("pump-a", "pump-b", "pump-bad")}


def served(artifacts: dict[str, Path], revision: str) -> Served:
    return Served(revision, str(artifacts[revision]))


class Home:
    """A router on a real port, the serving engine behind it, and a client."""

    def __init__(self, serving: Serving, url: str, client: aiohttp.ClientSession) -> None:
        self.serving, self.url, self.client = serving, url, client

    async def predict(self, body: object = BODY, detector: str = "pump") -> tuple[int, str | None, object]:
        """Status, revision that answered, document."""
        url = f"{self.url}/serving/{detector}/v1/models/{detector}:predict"
        async with self.client.post(url, json=body) as answer:
            return answer.status, answer.headers.get("x-homeostat-revision"), await answer.json()

    async def until(self, holds: Callable[[], bool], seconds: float = 40) -> None:
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110 - what is waited for is another process
                await asyncio.sleep(0.05)

    async def until_serves(self, *revisions: str) -> None:
        await self.until(lambda: all(self.serving.ready("pump", one) for one in revisions))

    def pid(self, revision: str) -> int:
        return next(
            child.pid
            for child in psutil.Process().children()
            if revision in child.cmdline() and "homeostat.models.predictor" in child.cmdline()
        )


@asynccontextmanager
async def home(state: Path, **options: Any) -> AsyncIterator[Home]:
    """Everything on port 0, and everything ended afterwards. `options` are the router's."""
    router = Router(**options)
    serving = Serving(state, router)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(router.registry), media_type="text/plain; version=0.0.4")

    app = Starlette(routes=[Mount("/serving", router), Route("/metrics", metrics)])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    await serving.start()
    try:
        async with aiohttp.ClientSession() as client:
            yield Home(serving, f"http://127.0.0.1:{port}", client)
    finally:
        await serving.stop()
        server.should_exit = True
        await task
