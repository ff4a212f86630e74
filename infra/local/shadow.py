"""Copies of a detector's requests for the revision in its shadow: sent once the client has its answer,
compared with that, and discarded.

A copy never delays a client: it waits in a queue of bounded length and size, and what does not fit is dropped
and counted. A revision keeps the last rows of each series, so copies of one series keep their order; a series
of which one was dropped starts anew, and its rows count again once as many went before them as at the stable
revision.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..observing.places import place
from .exchange import Ask, Reply
from .meter import Meters
from .shadow_words import compared, reset
from .sides import Backend, Route, series_of

LANES = 4
"""So many copies are on their way at once; those of one series all go by the same lane."""
MAX_COPIES = 256
MAX_BYTES = 32 * 1024 * 1024
MAX_SERIES = 10_000

Send = Callable[[Backend, Ask], Awaitable[Reply]]
"""Ask a revision, without its being counted among those that clients asked."""


@dataclass(frozen=True, slots=True)
class _Copy:
    """`anew`: the shadow knows nothing of what went before in the series."""

    ask: Ask
    answer: Reply
    series: str
    anew: bool

    @property
    def size(self) -> int:
        return len(self.ask.body) + len(self.answer.body)


class Shadow:
    """Of one detector's revision, while it is one. Belongs to one event loop."""

    def __init__(self, detector: str, backend: Backend, send: Send, meters: Meters) -> None:
        self.revision = backend.revision
        self._backend: Backend | None = backend
        self._detector, self._send, self._meters = detector, send, meters
        self._lanes: list[deque[_Copy]] = [deque() for _ in range(LANES)]
        self._some = [asyncio.Event() for _ in range(LANES)]
        self._copies = self._bytes = self._turn = 0
        self._followed: set[str] = set()  # series of which no copy was lost
        meters.add_shadow(detector, self.revision)
        self.tasks = [
            asyncio.create_task(self._go(lane), name=f"shadow {self.revision} {lane}")
            for lane in range(LANES)
        ]

    def at(self, backend: Backend | None) -> None:
        """Where it listens now; a server that started again knows no series."""
        if backend != self._backend:
            self._backend = backend
            self._followed.clear()

    def copy(self, ask: Ask, answer: Reply) -> None:
        """Queue a request that the stable revision answered so. Never blocks."""
        series = series_of(ask)
        one = _Copy(ask, answer, series, bool(series) and series not in self._followed)
        if self._backend is None or self._copies >= MAX_COPIES or self._bytes + one.size > MAX_BYTES:
            self._drop(one)
            return
        if len(self._followed) >= MAX_SERIES:
            self._followed.clear()
        if series:
            self._followed.add(series)
        self._turn = (self._turn + 1) % LANES
        lane = int(place(self._detector, series) * LANES) if series else self._turn
        self._lanes[lane].append(one)
        self._copies += 1
        self._bytes += one.size
        self._some[lane].set()

    def end(self) -> None:
        """Take no more, and give up what is on its way: it counts for nothing."""
        for task in self.tasks:
            task.cancel()

    async def _go(self, lane: int) -> None:
        while True:
            await self._some[lane].wait()
            self._some[lane].clear()
            while self._lanes[lane]:
                one = self._lanes[lane].popleft()
                try:
                    await self._ask(one)
                finally:
                    self._copies -= 1
                    self._bytes -= one.size

    async def _ask(self, one: _Copy) -> None:
        if self._backend is None:
            self._drop(one)
            return
        anew = reset(one.ask) if one.anew else None
        reply = await self._send(self._backend, anew or one.ask)
        # A refusal that the stable revision shares is the client's own; any other is the shadow's.
        agreed = 400 <= reply.status < 500 and one.answer.status >= 400
        outcome = "ok" if reply.status < 400 else "rejected" if agreed else "error"
        unsaid = one.anew and anew is None
        if unsaid or reply.status >= 400:
            self._followed.discard(one.series)
        rows, same = (0, 0) if unsaid else compared(one.ask.path, one.answer, reply)
        self._meters.shadowed(self._detector, self.revision, outcome, rows, same)

    def _drop(self, one: _Copy) -> None:
        self._followed.discard(one.series)
        self._meters.shadow_dropped(self._detector, self.revision)


class Shadows:
    """The shadows of one router, by detector."""

    def __init__(self, send: Send, meters: Meters) -> None:
        self._send, self._meters = send, meters
        self._all: dict[str, Shadow] = {}

    def seek(self, detector: str, route: Route) -> None:
        """From now on this is the detector's shadow; one whose server is gone for a while is waited for."""
        backend = route.canary if route.shadow else None
        found = self._all.get(detector)
        if found and (not route.shadow or (backend and backend.revision != found.revision)):
            self._all.pop(detector).end()
            found = None
        if found:
            found.at(backend)
        elif backend:
            self._all[detector] = Shadow(detector, backend, self._send, self._meters)

    def copy(self, detector: str, ask: Ask, answer: Reply) -> None:
        """Of what the detector's stable revision answered."""
        found = self._all.get(detector)
        if found and ask.method == "POST" and answer.status < 500:
            found.copy(ask, answer)

    async def close(self) -> None:
        shadows, self._all = list(self._all.values()), {}
        for one in shadows:
            one.end()
        await asyncio.gather(*(task for one in shadows for task in one.tasks), return_exceptions=True)
