"""Katib Experiments on one machine: a durable queue, one child process per search, resumed after a crash.

An Experiment is known by its name, so submitting it twice is one search. Its folder is the only truth: the
search (`tune.py`) writes each change there and then says it, and whatever was not yet emitted when a home
ended is emitted by the next one. Events carry the object's version in their id, so that twice told is once.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from os import environ
from pathlib import Path
from typing import Any

import orjson

from homeostat.eventing.wire import WireEvent

from .child import end
from .tuning_events import change
from .tuning_experiment import experiment
from .tuning_state import load_object, load_trials, replace, save_object
from .tuning_status import created, failed, state_of
from .tuning_template import MODULES

log = logging.getLogger(__name__)

MAX_CRASHES = 6
"""A search that dies this often without a trial finished between ends as failed."""
LONGEST_PAUSE = 30.0
LINE_BYTES = 16 * 1024 * 1024

Emit = Callable[[Sequence[WireEvent]], Awaitable[None]]


class Experiments:
    """The engine. At most `max_parallel` searches at a time, each with as many trials as its manifest says.
    `environment` holds what trials need to reach the home; `modules` what the names of modules begin with
    that may be run; `memory` (bytes) and `seconds` limit trials whose manifest does not."""

    def __init__(
        self,
        state: Path,
        *,
        emit: Emit,
        max_parallel: int = 1,
        environment: Mapping[str, str] | None = None,
        namespace: str = "homeostat",
        modules: tuple[str, ...] = MODULES,
        memory: int | None = None,
        seconds: float | None = None,
    ) -> None:
        self._root = state.resolve() / "experiments"
        self._emit, self._namespace, self._modules = emit, namespace, modules
        self._environment = dict(environment or {})
        self._options = orjson.dumps({"modules": modules, "memory": memory, "seconds": seconds}).decode()
        self._slots = asyncio.Semaphore(max_parallel)
        self._states: dict[str, str] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._running = False

    async def start(self) -> None:
        """Take up whatever was interrupted, oldest first, and tell what was not told."""
        self._running = True
        self._root.mkdir(parents=True, exist_ok=True)
        found = [load_object(file.parent) for file in self._root.glob("*/experiment.json")]
        for document in sorted(found, key=lambda one: str(one["metadata"]["creationTimestamp"])):
            name = document["metadata"]["name"]
            self._states[name] = state_of(document)
            if self._states[name] == "running" or self._untold(document):
                self._take_up(name)

    async def stop(self) -> None:
        """End the searches; they go on at the next start, and so do those that are still submitted."""
        self._running = False
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def submit(self, document: Mapping[str, Any]) -> None:
        """Queue a search; it is on disk when this returns. The same name again changes nothing.

        Raises Reject for an Experiment that one machine cannot run.
        """
        name = experiment(document, self._modules).name
        if name in self._states:
            await self._tell(load_object(self._root / name))
            return
        new = created(document, self._namespace)
        save_object(self._root / name, new)
        self._states[name] = "running"
        try:
            await self._tell(new)
        finally:
            self._take_up(name)

    def states(self) -> Mapping[str, str]:
        """The state of every search: running, succeeded or failed."""
        return dict(self._states)

    def document(self, name: str) -> dict[str, Any] | None:
        """The Experiment with its status, as an API server would show it; None when there is none."""
        return load_object(self._root / name) if name in self._states else None

    def _take_up(self, name: str) -> None:
        if not self._running:
            return
        task = asyncio.create_task(self._work(name), name=f"experiment {name}")
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._tasks.pop(name, None))

    async def _work(self, name: str) -> None:
        await self._try_to_tell(load_object(self._root / name))
        if self._states[name] == "running":
            async with self._slots:
                await self._search(name)
        await self._tell_at_last(name)

    async def _search(self, name: str) -> None:
        """Let the search run to its end, from the beginning again when it dies."""
        folder, crashes, before = self._root / name, 0, -1
        while self._states[name] == "running":
            code = await self._child(folder)
            document = load_object(folder)
            ended = sum(one.finished for one in load_trials(folder))
            crashes, before = (crashes + 1 if ended == before else 1), ended
            if state_of(document) == "running" and crashes >= MAX_CRASHES:
                document = failed(document, f"the search ended with {code}: {_last_words(folder)}")
                save_object(folder, document)
            self._states[name] = state_of(document)
            if self._states[name] == "running":
                pause = min(0.25 * 2**crashes, LONGEST_PAUSE)
                log.warning("search %s ended with %s; it goes on in %.1f s", name, code, pause)
                await asyncio.sleep(pause)

    async def _child(self, folder: Path) -> int:
        """Run the search in a process of its own, and emit each change that it says."""
        command = [sys.executable, "-m", "homeostat.infra.local.tune", str(folder), self._options]
        with (folder / "log").open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                env={**environ, **self._environment},
                limit=LINE_BYTES,
            )
        try:
            while process.stdout and (line := await process.stdout.readline()).endswith(b"\n"):
                await self._try_to_tell(orjson.loads(line))
            return await process.wait()
        finally:
            if process.returncode is None:
                await end(process)

    async def _tell_at_last(self, name: str) -> None:
        """Tell an Experiment as it is now, however long the broker takes none."""
        pause = 0.25
        while True:
            if await self._try_to_tell(load_object(self._root / name)):
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _try_to_tell(self, document: Mapping[str, Any]) -> bool:
        """A search does not end because a change of it was not taken: the next one tells it as well."""
        try:
            await self._tell(document)
        except Exception as error:  # noqa: BLE001 - a full disk, a broker that stops: it may go later
            log.warning("a change of %s was not emitted: %s", document["metadata"]["name"], error)
            return False
        return True

    async def _tell(self, document: Mapping[str, Any]) -> None:
        """Emit this version of an Experiment, unless it or a later one has been."""
        if self._untold(document):
            await self._emit([change(document)])
            file = self._emitted_file(document)
            replace(file, str(max(_version(document), _emitted(file))).encode(), durable=False)

    def _untold(self, document: Mapping[str, Any]) -> bool:
        return _version(document) > _emitted(self._emitted_file(document))

    def _emitted_file(self, document: Mapping[str, Any]) -> Path:
        return self._root / str(document["metadata"]["name"]) / "emitted"


def _version(document: Mapping[str, Any]) -> int:
    return int(document["metadata"]["resourceVersion"])


def _emitted(file: Path) -> int:
    return int(file.read_bytes()) if file.exists() else 0


def _last_words(folder: Path) -> str:
    """The last line of what the search has said: its error, when Python ended it."""
    lines = (folder / "log").read_text(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")
