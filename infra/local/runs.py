"""Training runs on one machine: a durable queue, one child process per run, resumed after a crash.

A run is known by its name, so submitting it twice is one run. A child that dies without having announced its
end is answered for here: that is the exit handler that kfp.local does not have.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from homeostat.eventing.messages import StartTraining
from homeostat.eventing.wire import WireEvent
from homeostat.functions.detector import Cause
from homeostat.functions.spec import Spec
from homeostat.pipelines.announcement import failed_event

from ..training_request import last_words, prepare, requested, step, too_long
from .child import end

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 40
"""A run that is interrupted this often ends as failed: something kills it, and it will not be chance."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
  name TEXT PRIMARY KEY, request BLOB NOT NULL, state TEXT NOT NULL DEFAULT 'queued',
  attempts INTEGER NOT NULL DEFAULT 0, submitted REAL NOT NULL
)
"""

Emit = Callable[[Sequence[WireEvent]], Awaitable[None]]


class Runs:
    """The engine. At most `max_parallel` children at a time, oldest submission first. `environment` holds
    what they need to post to the broker."""

    def __init__(
        self,
        state: Path,
        *,
        sink: str,
        tracking_uri: str,
        emit: Emit,
        max_parallel: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._state = state.resolve()
        self._sink, self._tracking_uri, self._emit = sink, tracking_uri, emit
        self._environment = dict(environment or {})
        self._slots = asyncio.Semaphore(max_parallel)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._db: sqlite3.Connection | None = None

    async def start(self) -> None:
        """Open the queue, and take up whatever was interrupted."""
        self._state.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(self._state / "runs.db", isolation_level=None, timeout=30)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute(_SCHEMA)
        unfinished = "SELECT name FROM runs WHERE state IN ('queued', 'running') ORDER BY submitted"
        for (name,) in self._db.execute(unfinished).fetchall():
            self._take_up(name)

    async def stop(self) -> None:
        """End the children; their runs stay in the queue and go on at the next start."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        if self._db:
            self._db.close()
            self._db = None

    async def submit(self, command: StartTraining, spec: Spec, cause: Cause) -> None:
        """Queue a run; it is on disk when this returns. The same name again changes nothing."""
        added = self._execute(
            "INSERT OR IGNORE INTO runs (name, request, submitted) VALUES (?, ?, ?)",
            (command.run, orjson.dumps(requested(command, spec, cause)), time.time()),
        )
        if added:
            self._take_up(command.run)

    def states(self) -> Mapping[str, str]:
        """The state of every run: queued, running, succeeded or failed."""
        return dict(self._connection().execute("SELECT name, state FROM runs ORDER BY submitted").fetchall())

    def _execute(self, statement: str, values: tuple[Any, ...]) -> int:
        return self._connection().execute(statement, values).rowcount

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise RuntimeError("the runs' engine has not been started")
        return self._db

    def _take_up(self, name: str) -> None:
        task = asyncio.create_task(self._work(name), name=f"run {name}")
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._tasks.pop(name, None))

    async def _work(self, name: str) -> None:
        async with self._slots:
            found = "SELECT request, attempts FROM runs WHERE name = ?"
            row = self._connection().execute(found, (name,)).fetchone()
            request, attempts = orjson.loads(row[0]), row[1] + 1
            self._execute("UPDATE runs SET state = 'running', attempts = ? WHERE name = ?", (attempts, name))
            folder = self._state / "runs" / name
            error = f"it was interrupted {MAX_ATTEMPTS} times" if attempts > MAX_ATTEMPTS else None
            if error is None:
                # Where to write and whom to tell may have changed since the run was submitted.
                places = {
                    "models_root": str(self._state / "models"),
                    "tracking_uri": self._tracking_uri,
                    "sink": self._sink,
                }
                error = await self._child(folder, request | places)
            if error is not None:
                event = failed_event(request["detector"], request["cause"], name, step(folder), error)
                await self._emit([event])
            state = "succeeded" if error is None else "failed"
            self._execute("UPDATE runs SET state = ? WHERE name = ?", (state, name))

    async def _child(self, folder: Path, request: Mapping[str, Any]) -> str | None:
        """Run the pipeline in a process of its own; None when it ended well, else why it did not."""
        command = prepare(folder, request)
        environment = {**os.environ, **self._environment, "OMP_NUM_THREADS": "2"}
        with (folder / "log").open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdout=output,
                stderr=output,
                env=environment,
            )
            try:
                code = await asyncio.wait_for(process.wait(), request["timeout"])
            except TimeoutError:
                await end(process)
                return too_long(request["timeout"])
            except asyncio.CancelledError:
                await end(process)
                raise
        return None if code == 0 else last_words(folder, code)
