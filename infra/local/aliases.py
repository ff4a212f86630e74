"""MLflow's aliases of what serves and what is on trial, set beside serving: by a process of its own each, one
after the other, and only the newest that is wanted of a detector. One that fails is logged, and tried again
with the detector's next command."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Mapping

from homeostat.models.aliases import aliases

from .child import end

log = logging.getLogger(__name__)

SECONDS = 120.0


class Aliases:
    """Belongs to one event loop."""

    def __init__(self, tracking_uri: str) -> None:
        self._tracking_uri = tracking_uri
        self._wanted: dict[str, Mapping[str, str | None]] = {}
        self._set: dict[str, Mapping[str, str | None]] = {}
        self._task: asyncio.Task[None] | None = None

    def want(self, detector: str, champion: str | None, challenger: str | None) -> None:
        """Versions of the detector's registered model. Returns at once."""
        wanted = aliases(champion, challenger)
        if self._set.get(detector) == wanted:
            self._wanted.pop(detector, None)
            return
        self._wanted[detector] = wanted
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._go(), name="aliases")

    async def idle(self) -> None:
        """Return once nothing is wanted any more that was not tried."""
        if self._task:
            await self._task

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _go(self) -> None:
        while self._wanted:
            detector, wanted = self._wanted.popitem()
            self._set.pop(detector, None)  # while it is being changed, it is neither
            if await self._run(detector, wanted):
                self._set[detector] = wanted

    async def _run(self, detector: str, wanted: Mapping[str, str | None]) -> bool:
        command = [sys.executable, "-m", "homeostat.models.aliases", "--tracking-uri", self._tracking_uri]
        command += ["--detector", detector]
        command += [f"--{alias}={version}" for alias, version in wanted.items() if version]
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        said = b""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SECONDS):
                    _, said = await process.communicate()
        finally:
            if process.returncode is None:
                await end(process)
        if process.returncode:
            last = said.decode(errors="replace").strip().rpartition("\n")[2]
            log.warning("MLflow's aliases of %s are not set: %s", detector, last or process.returncode)
        return process.returncode == 0
