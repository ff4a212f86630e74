"""How data and alerts come in on this machine: the gateway, the watched folders, the periodic listing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from uuid import uuid4

from prometheus_client import CollectorRegistry

from homeostat.eventing.gateway.app import gateway
from homeostat.eventing.gateway.matching import Matcher
from homeostat.eventing.wire import WireEvent

from .folder import Folder
from .listing import Listing
from .settings import Settings
from .store import Store

Accept = Callable[[Sequence[WireEvent]], Awaitable[None]]


class Arrivals:
    """`app` is the gateway; `start` begins to look into folders and stores."""

    def __init__(self, settings: Settings, detectors: Store, accept: Accept) -> None:
        self.registry = CollectorRegistry()
        self._uploads = settings.state / "uploads"
        self.app = gateway(
            accept,
            lambda uri: Matcher(detectors.uris())(uri),
            max_body=settings.max_body_bytes,
            store=self._keep,
            registry=self.registry,
        )
        every = settings.list_seconds
        self._folder = Folder(detectors.uris, accept, settle=settings.settle_seconds)
        self._listing = Listing(detectors.uris, accept, detectors.batches, every) if every else None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        looks = [self._folder.run(), *([self._listing.run()] if self._listing else [])]
        self._tasks = [asyncio.create_task(one) for one in looks]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _keep(self, name: str, content: bytes) -> str:
        """An object that came as data is kept under `<state>/uploads`, whole or not at all."""
        self._uploads.mkdir(parents=True, exist_ok=True)
        target = self._uploads.resolve() / Path(name).name
        arriving = target.with_name(f".{target.name}.{uuid4().hex}")
        try:
            arriving.write_bytes(content)
            arriving.replace(target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                arriving.unlink()
        return str(target)
