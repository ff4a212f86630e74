"""How long the log is kept: by age and by size. What somebody still waits for is never forgotten."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from ..errors import Retry
from .store import BrokerStore

log = logging.getLogger(__name__)

CHUNK = 500
"""So many events are deleted at a time, between the groups of those who write."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Events older than `age`, and the oldest while the file has more than `size` bytes, are deleted, once
    every trigger is done with them; dead letters stay until they are redriven or dropped."""

    age: timedelta = timedelta(days=14)
    size: int = 4 * 1024**3
    every: timedelta = timedelta(minutes=1)


class Forgetting:
    """Keeps the file to its retention. `full` says that it is too large though all that may go has gone."""

    def __init__(self, retention: Retention, store: BrokerStore, done: Callable[[], int]) -> None:
        """`done` is the sequence up to which every trigger is done."""
        self._retention, self._store, self._done = retention, store, done
        self.full = False

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self.once()
            except (sqlite3.Error, Retry) as error:
                log.warning("old events cannot be deleted now: %s", error)
            await asyncio.sleep(self._retention.every.total_seconds())

    async def once(self) -> int:
        """Delete what may go; returns how many events."""
        log_, retention = self._store.log, self._retention
        deleted = 0
        while gone := await self._delete(log_.before(time.time() - retention.age.total_seconds())):
            deleted += gone
        while log_.size() > retention.size and (gone := await self._delete(self._done())):
            deleted += gone
        self.full = log_.size() > retention.size
        if self.full:
            log.error("%s: over %d bytes of undelivered events", self._store.path, retention.size)
        return deleted

    async def _delete(self, up_to: int) -> int:
        """The oldest events up to there, at most a chunk of them."""
        gone = self._store.log.forgettable(min(up_to, self._done()), CHUNK)
        if gone:
            await self._store.forget(gone)
        return len(gone)
