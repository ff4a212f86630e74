"""The watched folders: a file that is put into a Detector's folder is announced once it is complete.

It is complete when it was renamed into place from a temporary name that was seen here, or when its size and
modification time have stood still for `settle` seconds. What lies there when the watch begins is left to the
listing, which knows what was recorded already.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from watchfiles import Change, awatch

from homeostat.eventing.errors import Reject, Retry
from homeostat.eventing.gateway.emit import event
from homeostat.eventing.gateway.matching import Matcher
from homeostat.eventing.wire import WireEvent

from .files import fact, files, look, root_of, temporary

log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")
Accept = Callable[[Sequence[WireEvent]], Awaitable[None]]
_REMEMBERED = 100_000
"""Files whose state is remembered; the oldest are forgotten, and announced again they are duplicates."""

State = tuple[int, int, int, int]
"""Device, inode, size and modification time."""


@dataclass(slots=True)
class _Pending:
    state: State
    since: float
    renamed: bool = False


class Folder:
    """`detectors` gives each Detector's `data.uri` by name, anew at each look: Detectors come and go.
    `accept` takes events; when it raises Retry they are offered again. A `data.uri` that names a file is
    the listing's."""

    def __init__(
        self, detectors: Callable[[], Mapping[str, str]], accept: Accept, *, settle: float = 2.0
    ) -> None:
        self._detectors = detectors
        self._accept = accept
        self._settle = settle
        self._tick = max(0.05, min(1.0, settle / 4))
        self._roots: dict[Path, str] = {}
        """Each folder by its real path, as its Detector spells it."""
        self._surveyed: dict[Path, int] = {}
        """Folders that were looked at, with their inodes then; 0 for one that was not there."""
        self._pending: dict[Path, _Pending] = {}
        self._taken: OrderedDict[Path, State] = OrderedDict()
        self._arriving: OrderedDict[State, None] = OrderedDict()
        """Files under temporary names as they were last seen: in place in the same state, they are whole."""

    async def run(self) -> None:
        """Watch until cancelled."""
        since = time.time()
        while True:
            watched = self._present()
            await asyncio.to_thread(self._survey, watched, since)
            since = time.time()
            await self._take_finished()
            if watched:
                await self._watch(watched, since)
            else:
                await asyncio.sleep(self._tick)

    async def _watch(self, watched: Mapping[Path, int], since: float) -> None:
        """Until a folder comes, goes or is another one under the same name."""
        changes = awatch(
            *watched,
            watch_filter=None,
            debounce=200,
            rust_timeout=round(self._tick * 1000),
            yield_on_timeout=True,
            ignore_permission_denied=True,
        )
        started = False
        try:
            async for found in changes:
                if not started:
                    # What came between the survey and the watch has no event.
                    await asyncio.to_thread(self._survey, watched, since)
                    started = True
                gone = {Path(path) for kind, path in found if kind is Change.deleted} & set(watched)
                # One that was made again at once may have the inode of the old one, whose watch is dead.
                self._surveyed |= dict.fromkeys(gone, 0)
                await asyncio.to_thread(self._note, [Path(path) for _, path in found])
                await self._take_finished()
                if gone or self._present() != watched:
                    return
        except (OSError, RuntimeError) as error:
            # A folder that goes away while its watch is set up; the next round looks again.
            log.info("the watch on %s ends: %s", ", ".join(map(str, watched)), error)
            await asyncio.sleep(self._tick)

    def _present(self) -> dict[Path, int]:
        """The folders that are there now, with their inodes."""
        named = {Path(os.path.realpath(root)): str(root) for root in self._named()}
        inodes = {root: _inode(root) for root in named}
        self._roots = {root: named[root] for root, inode in inodes.items() if inode}
        for root, inode in inodes.items():
            if not inode:
                self._surveyed[root] = 0
        # A file of a folder inside another one is seen once.
        return {
            root: inodes[root] for root in self._roots if not any(up in self._roots for up in root.parents)
        }

    def _named(self) -> list[Path]:
        return [root for uri in self._detectors().values() if (root := root_of(uri)) is not None]

    def _survey(self, watched: Mapping[Path, int], since: float) -> None:
        """What lies in a folder that is looked at for the first time was there before us. What lies in one
        that came, or came back, has come meanwhile; in one that stayed, what is new by its change time."""
        for root, inode in watched.items():
            before = self._surveyed.get(root)
            for path, told in files(root):
                if before is None:
                    self._remember(path, _state(told))
                elif before != inode or told.st_ctime >= since - 1:
                    self._consider(path, _state(told))
            self._surveyed[root] = inode

    def _note(self, paths: Iterable[Path]) -> None:
        for path in paths:
            root = self._root(path)
            if root is None:
                continue
            if path.is_dir():
                # A folder that was moved in has its files with it, and no event for any of them.
                for inner, told in files(path):
                    if not temporary(inner.relative_to(root)):
                        self._consider(inner, _state(told))
            elif told_of := look(path, str(root)):
                if temporary(path.relative_to(root)):
                    _keep(self._arriving, _state(told_of), None)
                else:
                    self._consider(path, _state(told_of))

    def _root(self, path: Path) -> Path | None:
        inside = (root for root in self._roots if root in path.parents)
        return max(inside, key=lambda root: len(root.parts), default=None)

    def _consider(self, path: Path, state: State) -> None:
        if self._taken.get(path) == state:
            return
        pending = self._pending.get(path)
        if pending is None or pending.state != state:
            self._pending[path] = _Pending(state, time.monotonic(), state in self._arriving)

    async def _take_finished(self) -> None:
        """Announce what stands still. What changes while it is read waits again."""
        for path, pending in list(self._pending.items()):
            root = self._root(path)
            told = look(path, str(root)) if root else None
            if told is None:
                del self._pending[path]
            elif _state(told) != pending.state:
                self._pending[path] = _Pending(_state(told), time.monotonic())
            elif pending.renamed or time.monotonic() - pending.since >= self._settle:
                await self._finish(path, pending.state)

    async def _finish(self, path: Path, state: State) -> None:
        if await self._announced(path):
            del self._pending[path]
            self._remember(path, state)

    async def _announced(self, path: Path) -> bool:
        root = self._root(path)
        if root is None:
            return True
        spelled = Path(self._roots[root]) / path.relative_to(root)
        subject = Matcher(self._detectors())(str(spelled))
        if subject is None:
            return True
        try:
            found = await asyncio.to_thread(fact, spelled, subject)
            if found is None:
                return False
            await self._accept([event(found, subject)])
        except Retry as later:
            log.warning("%s is announced later: %s", spelled, later)
            return False
        except (OSError, Reject) as error:
            log.warning("%s cannot be announced: %s", spelled, error)
        return True

    def _remember(self, path: Path, state: State) -> None:
        _keep(self._taken, path, state)


def _state(told: os.stat_result) -> State:
    return told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns


def _inode(root: Path) -> int:
    """0 for a folder that is not there."""
    try:
        return root.stat().st_ino if root.is_dir() else 0
    except OSError:
        return 0


def _keep(kept: OrderedDict[K, V], key: K, value: V) -> None:
    """Remember the newest, and no more than may be remembered."""
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > _REMEMBERED:
        kept.popitem(last=False)
