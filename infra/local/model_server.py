"""One revision's KServe ModelServer: a child process that is started, watched, restarted and ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

import aiohttp

from ..observing.artifacts import local_folder
from .child import end

log = logging.getLogger(__name__)

EX_DATAERR = 65
"""The predictor refused its artifact: it would refuse it again."""
PARENT_PID = "HOMEOSTAT_PARENT_PID"
START_SECONDS = 120.0
CHECK_SECONDS = 5.0
CHECKS_MISSED = 6
LONGEST_PAUSE = 30.0
LOG_TAIL_BYTES = 4000
LOG_LIMIT_BYTES = 8 * 1024 * 1024
_ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM")
}


class Phase(StrEnum):
    STARTING = "Starting"
    READY = "Ready"
    RESTARTING = "Restarting"
    FAILED = "Failed"
    STOPPED = "Stopped"


@dataclass(frozen=True, slots=True)
class Condition:
    """What has become of a revision, for people; `message` ends in its last log lines when it failed."""

    phase: Phase
    message: str = ""


class ModelServer:
    """`changed` is called, on the event loop, whenever `condition` has changed."""

    def __init__(
        self, detector: str, revision: str, uri: str, log_file: Path, changed: Callable[[], None]
    ) -> None:
        self.detector, self.revision, self.uri = detector, revision, uri
        self.condition = Condition(Phase.STARTING)
        self.url = ""
        self.pid: int | None = None
        self.restarts = 0
        self._log_file, self._changed = log_file, changed
        self._task: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        return self.condition.phase is Phase.READY

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_alive(), name=f"serve {self.revision}")

    async def stop(self) -> None:
        """End the process: SIGTERM, and SIGKILL after a grace period."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._become(Phase.STOPPED)

    def _become(self, phase: Phase, message: str = "") -> None:
        before, self.condition = self.condition, Condition(phase, message)
        if before != self.condition:
            self._changed()

    async def _keep_alive(self) -> None:
        pause = 0.25
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CHECK_SECONDS)) as client:
            while True:
                begun = asyncio.get_running_loop().time()
                code = await self._live_once(client)
                if code == EX_DATAERR:
                    self._become(Phase.FAILED, f"its artifact {self.uri} was refused: {self._tail()}")
                    return
                lived = asyncio.get_running_loop().time() - begun
                pause = 0.25 if lived > LONGEST_PAUSE else min(pause * 2, LONGEST_PAUSE)
                self.restarts += 1
                log.warning("%s ended with %s; it starts again in %g s", self.revision, code, pause)
                self._become(Phase.RESTARTING, f"ended with {code}: {self._tail()}")
                await asyncio.sleep(pause)

    async def _live_once(self, client: aiohttp.ClientSession) -> int:
        """Run the process until it ends. Returns its exit status."""
        try:
            folder = local_folder(self.uri)
        except ValueError as error:
            self._write_log(f"refused: {error}\n")
            return EX_DATAERR
        process = await self._spawn(folder)
        self.pid = process.pid
        watch = asyncio.create_task(self._watch(client, process))
        try:
            return await process.wait()
        except asyncio.CancelledError:
            await end(process)
            raise
        finally:
            self.pid = None
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch

    async def _spawn(self, folder: Path) -> asyncio.subprocess.Process:
        # The port is bound here and handed over, so that nobody can take it in between.
        with socket.socket() as bound, self._open_log() as output:
            bound.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
            command = [sys.executable, "-m", "homeostat.models.predictor"]
            command += ["--model_name", self.detector, "--model_dir", str(folder)]
            command += ["--revision", self.revision, "--fd", str(bound.fileno())]
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(bound.fileno(),),
                # A session of its own: Ctrl-C reaches the home only, which then drains and stops us.
                start_new_session=True,
                env={**os.environ, **_ONE_THREAD, PARENT_PID: str(os.getpid())},
            )

    async def _watch(self, client: aiohttp.ClientSession, process: asyncio.subprocess.Process) -> None:
        """Ready as soon as it says so; killed when it never does, or stops answering."""
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while not await self._answers(client):
            if asyncio.get_running_loop().time() > deadline:
                self._write_log(f"killed: not ready within {START_SECONDS:g} s\n")
                process.kill()
                return
            await asyncio.sleep(0.1)
        self._become(Phase.READY)
        missed = 0
        while missed < CHECKS_MISSED:
            await asyncio.sleep(CHECK_SECONDS)
            missed = 0 if await self._answers(client) else missed + 1
        self._write_log(f"killed: {missed} health checks without an answer\n")
        process.kill()

    async def _answers(self, client: aiohttp.ClientSession) -> bool:
        try:
            async with client.get(f"{self.url}/v2/health/ready") as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    # --- its log -----------------------------------------------------------------------------------------
    def _open_log(self) -> BinaryIO:
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        if self._log_file.exists() and self._log_file.stat().st_size > LOG_LIMIT_BYTES:
            self._log_file.replace(self._log_file.with_suffix(".log.1"))
        return self._log_file.open("ab")

    def _write_log(self, text: str) -> None:
        with self._open_log() as output:
            output.write(text.encode())

    def _tail(self) -> str:
        try:
            with self._log_file.open("rb") as file:
                file.seek(max(0, self._log_file.stat().st_size - LOG_TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return "it left no log"
        refusal = [line for line in lines if line.startswith(("refused:", "killed:"))]
        return "\n".join(refusal[-1:] or lines[-5:])
