"""The eyes of take-label: what was answered and what labels said of it are put down, and on ticks looked at.

Events that come while others are being written are written together, in one transaction, beside the event
loop; each waits for its own. What labels say is counted anew only where they may say something else.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter

from homeostat.eventing.codec import Context
from homeostat.eventing.messages import CanaryTick, InferenceResponse, LabelReceived
from homeostat.functions import labels
from homeostat.functions.detector import Detector, Quality, RevisionFigures
from homeostat.functions.take_label import QualityFacts, watched

from . import scored_rows
from .label_book import Kept, LabelBook
from .label_bounds import Limits

BATCH = 1_000
"""Events of one transaction."""
MOST_CACHED = 1_000
"""Revisions whose figures are not counted anew."""

Figures = Callable[[Detector], Awaitable[RevisionFigures | None]]
"""The counters of the revision that serves; None where they are not to be had."""


class LabelObserver:
    """Belongs to one event loop. `db` is opened when it is first needed."""

    def __init__(
        self,
        db: Path,
        figures: Figures,
        registry: CollectorRegistry | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._path, self._figures, self._limits = db, figures, limits
        self._book: LabelBook | None = None
        self._waiting: list[tuple[Kept, asyncio.Future[None]]] = []
        self._work: asyncio.Task[None] | None = None
        self._counted: OrderedDict[tuple[str, str], tuple[int, Quality | None]] = OrderedDict()
        self.events = Counter(
            "homeostat_label_events", "Answers and labels by fate", ["kind", "fate"], registry=registry
        )

    @property
    def book(self) -> LabelBook:
        if self._book is None:
            self._book = LabelBook(self._path, self._limits)
        return self._book

    async def close(self) -> None:
        if self._work:
            await self._work
        if self._book:
            self._book.close()

    async def observe(
        self, event: LabelReceived | InferenceResponse | CanaryTick, context: Context, detector: Detector
    ) -> QualityFacts | None:
        """What there is to say on a tick; None of answers and labels, which are put down once it returns.

        Raises Reject for a label that says nothing of any row.
        """
        if isinstance(event, CanaryTick):
            return await self._facts(detector)
        kind = "label" if isinstance(event, LabelReceived) else "answer"
        what = labels.read(event) if isinstance(event, LabelReceived) else scored_rows.read(event)
        if what is None:
            self.events.labels(kind, "unreadable").inc()  # another predictor's, of which nobody asks us
            return None
        at = labels.time_of(context.time) or detector.now
        await self._put(Kept(detector.name, context.source, context.id, at, detector.now, what))
        self.events.labels(kind, "kept").inc()
        return None

    # --- putting down ------------------------------------------------------------------------------------
    async def _put(self, kept: Kept) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((kept, done))
        if self._work is None:
            self._work = asyncio.create_task(self._work_off(), name="put answers down")
        # Put down even when this delivery is given up: the next one finds it so.
        await asyncio.shield(done)

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                try:
                    refused = await asyncio.to_thread(self._write, [kept for kept, _ in batch])
                except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer to those who wait
                    refused = [error] * len(batch)
                for (_, done), fault in zip(batch, refused, strict=True):
                    if not done.done():
                        done.set_exception(fault) if fault else done.set_result(None)
                    done.exception()  # seen, even where nobody waits any more
        finally:
            self._work = None

    def _write(self, batch: list[Kept]) -> list[Exception | None]:
        return list(self.book.put(batch))

    # --- looking -----------------------------------------------------------------------------------------
    async def _facts(self, detector: Detector) -> QualityFacts:
        known, counters = await asyncio.gather(
            asyncio.to_thread(self._known, detector), self._bands(detector)
        )
        quality, unmatched = known
        return QualityFacts(quality, unmatched, counters)

    async def _bands(self, detector: Detector) -> RevisionFigures | None:
        wanted = detector.spec.quality.bands and detector.status.serving is not None
        return await self._figures(detector) if wanted else None

    def _known(self, detector: Detector) -> tuple[dict[str, Quality], int]:
        found = {name: self._quality(detector, name) for name in watched(detector)}
        unmatched = self.book.unmatched(detector.name, detector.now)
        return {name: one for name, one in found.items() if one is not None}, unmatched

    def _quality(self, detector: Detector, revision: str) -> Quality | None:
        key, changes = (detector.name, revision), self.book.changes(detector.name)
        if key not in self._counted or self._counted[key][0] != changes:
            self._counted[key] = changes, self._count(detector, revision, detector.now)
            while len(self._counted) > MOST_CACHED:
                self._counted.popitem(last=False)
        self._counted.move_to_end(key)
        return self._counted[key][1]

    def _count(self, detector: Detector, revision: str, now: datetime) -> Quality | None:
        found = self.book.found(detector.name, revision)
        if found is None:
            return None
        counts, period = found.counts, detector.spec.data.period.total_seconds()
        return Quality(
            caught=counts.caught,
            missed=counts.missed,
            false_alarms=counts.false_alarms,
            passed=counts.passed,
            false_events=counts.false_events,
            days=(counts.false_alarms + counts.passed) * period / 86_400,
            since=found.since,
            until=found.until,
            measured=now,
        )
