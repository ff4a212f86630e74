"""A child process that is kept alive: started again when it ends, ended when we do."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
GRACE_SECONDS = 15.0
LONGEST_PAUSE = 30.0


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends (prctl(2)), however it ends."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # the parent ended before we asked


class Child:
    """One supervised process. A crash loop slows down, doubling its pause up to half a minute."""

    def __init__(self, name: str, command: Sequence[str], log_file: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.pid: int | None = None
        self._command = command
        self._log_file = log_file
        self._env = {**os.environ, **env}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        self._task = asyncio.create_task(self._keep_alive(), name=self.name)

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _keep_alive(self) -> None:
        pause = 0.5
        while True:
            with self._log_file.open("ab") as output:
                process = await asyncio.create_subprocess_exec(
                    *self._command, stdout=output, stderr=output, env=self._env
                )
            self.pid = process.pid
            begun = asyncio.get_running_loop().time()
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                await end(process)
                raise
            lived = asyncio.get_running_loop().time() - begun
            pause = 0.5 if lived > LONGEST_PAUSE else min(pause * 2, LONGEST_PAUSE)
            log.warning("%s ended with %s; it starts again in %.1f s", self.name, code, pause)
            await asyncio.sleep(pause)


async def end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and SIGKILL after a grace period."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), GRACE_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
