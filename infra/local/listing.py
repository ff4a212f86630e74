"""The periodic listing: finds objects whose notification was lost (MinIO and watched folders lose some).

An object is announced once its size and its version stood still between two looks, unless it is recorded
already. Its id is the notification's wherever the store tells a version; where it tells only an etag, a
notification that comes later is another event and still changes nothing, for the etag is recorded.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from homeostat.eventing.errors import Reject, Retry
from homeostat.eventing.gateway.emit import event
from homeostat.eventing.gateway.matching import Matcher
from homeostat.eventing.messages import DataLanded
from homeostat.eventing.wire import WireEvent

from .objects import Object, newest

log = logging.getLogger(__name__)

Accept = Callable[[Sequence[WireEvent]], Awaitable[None]]
LIMIT = 10_000
"""Objects of a Detector that are looked at, the newest."""
_PATIENCE = 120.0
_THREADS = 4


@dataclass(slots=True)
class _Memory:
    """What was seen of a Detector's objects: at the last look, and of those the ones that are settled."""

    seen: dict[str, str] = field(default_factory=dict)
    done: dict[str, str] = field(default_factory=dict)
    floor: float | None = None
    """Nothing older than this is looked at; None until the first look."""


class Listing:
    """`detectors` gives each Detector's `data.uri` by name, `known` the etag of each recorded object of a
    Detector by its address, `every` the seconds between two looks. `errors` says which Detectors could not
    be listed at the last look, and why."""

    def __init__(
        self,
        detectors: Callable[[], Mapping[str, str]],
        accept: Accept,
        known: Callable[[str], Mapping[str, str]],
        every: float,
        *,
        limit: int = LIMIT,
    ) -> None:
        self._detectors = detectors
        self._accept = accept
        self._known = known
        self._every = every
        self._limit = limit
        self._memory: dict[str, _Memory] = {}
        self._listing: dict[str, asyncio.Future[list[Object]]] = {}
        self._threads = ThreadPoolExecutor(_THREADS, "listing")
        self.errors: dict[str, str] = {}

    async def run(self) -> None:
        """Look until cancelled; jitter keeps many homes from asking one store at the same moment."""
        try:
            while True:
                await self.look()
                await asyncio.sleep(self._every * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def look(self) -> int:
        """List every Detector's objects once; returns how many were announced. What goes wrong with one
        Detector does not keep the others from being looked at."""
        uris = dict(self._detectors())
        self._memory = {name: self._memory.get(name, _Memory()) for name in uris}
        self.errors = {name: why for name, why in self.errors.items() if name in uris}
        owner = Matcher(uris)
        return sum(await asyncio.gather(*(self._look(name, uri, owner) for name, uri in uris.items())))

    async def _look(self, name: str, uri: str, owner: Matcher) -> int:
        try:
            found = await self._listed(name, uri)
            announced = await self._announce(name, [one for one in found if owner(one.uri) == name])
        except Retry as later:
            self._failed(name, f"the broker takes nothing now: {later}")
        except Exception as error:  # noqa: BLE001 - fsspec's stores raise whatever their SDKs do
            self._failed(name, f"{uri} cannot be listed: {type(error).__name__}: {error}")
        else:
            self.errors.pop(name, None)
            return announced
        return 0

    def _failed(self, name: str, why: str) -> None:
        if self.errors.get(name) != why:
            log.warning("%s: %s", name, why)
        self.errors[name] = why

    async def _listed(self, name: str, uri: str) -> list[Object]:
        """In a thread; a store that does not answer keeps one thread and this Detector waiting, no more."""
        running = self._listing.get(name)
        if running is None:
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(self._threads, newest, uri, self._limit)
            self._listing[name] = running
        try:
            found = await asyncio.wait_for(asyncio.shield(running), _PATIENCE)
        except TimeoutError:
            raise TimeoutError(f"no answer for {_PATIENCE:.0f} s") from None
        except BaseException:
            self._listing.pop(name, None)
            raise
        self._listing.pop(name, None)
        return found

    async def _announce(self, name: str, found: list[Object]) -> int:
        memory, known = self._memory[name], self._known(name)
        if memory.floor is None:
            memory.floor = _oldest_recorded(found, known)
        if len(found) >= self._limit:
            # What was too old to be looked at is not new when newer objects are deleted.
            memory.floor = max(memory.floor, found[-1].modified)
        announced = 0
        # The oldest first, for a record keeps what came last.
        for one in reversed(found):
            standing = memory.seen.get(one.uri) == one.state != memory.done.get(one.uri)
            if standing and one.modified >= memory.floor:
                try:
                    announced += await self._settled(name, one, known)
                except OSError as error:
                    log.warning("%s: %s is read again later: %s", name, one.uri, error)
                else:
                    memory.done[one.uri] = one.state
        memory.seen = {one.uri: one.state for one in found}
        memory.done = {uri: state for uri, state in memory.done.items() if uri in memory.seen}
        return announced

    async def _settled(self, name: str, one: Object, known: Mapping[str, str]) -> int:
        """Announce the object unless it is recorded. A store without etags is trusted to keep its objects."""
        recorded = known.get(one.uri)
        if recorded is not None and one.etag in ("", recorded):
            return 0
        try:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._threads, one.fact, name)
            message = found and found.message
            if found is None or (isinstance(message, DataLanded) and message.etag == recorded):
                return 0
            await self._accept([event(found, name)])
        except Reject as refused:
            log.warning("%s: %s cannot be announced: %s", name, one.uri, refused)
            return 0
        return 1


def _oldest_recorded(found: Sequence[Object], known: Mapping[str, str]) -> float:
    """A record holds the newest objects only, so at the first look what is older than all of it has most
    likely left it: announced again it would count as new rows and push newer ones out."""
    return min((one.modified for one in found if one.uri in known), default=0.0)
