"""The stream's eyes: each series' last rows and open alarm, and the verdicts on what comes next.

Events of one series that come while others of it are being scored are scored together, in one request, in
the order of their coming (Kafka records in that of their offsets). Requests of different series go out side
by side, and the revision judges those in one call. An event is known by source, id and type: delivered again
it gets the facts that it got, and its rows are not appended twice.

All of this is in memory, and bounded: the series used least are forgotten first. A home that starts again
begins every window anew, as it does when a series is first seen: rows before the first full window are scored
as if the first row had lasted, and an alarm that was open begins again. Nothing else is lost by that, for an
event that was not acknowledged is delivered again; and windows fill up in `tail` rows, which is less than a
write to disk for every row would cost.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from prometheus_client import CollectorRegistry, Counter

from homeostat.eventing.codec import Context
from homeostat.eventing.errors import Reject
from homeostat.eventing.messages import KafkaRecord, SamplesReceived
from homeostat.functions.alarms import Alarm, follow
from homeostat.functions.detector import Detector
from homeostat.functions.samples import Samples, read
from homeostat.functions.score_stream import StreamFacts

from .scoring import Scored, Scorer
from .stream_order import HOLD_SECONDS, Order
from .stream_series import Asked, Kept, Rows, Series, recent

GATHER_SECONDS = 0.002
"""So long the first event of a batch waits for company."""
BATCH_ROWS = 2_000
MAX_ANSWERED = 100_000
"""Events whose redelivery is recognised."""
MAX_EXPLAINED = 20
"""Alarms of one event that are explained; an event with more of them has other troubles."""


class StreamObserver:
    """Belongs to one event loop."""

    def __init__(
        self,
        scorer: Scorer,
        *,
        registry: CollectorRegistry | None = None,
        hold: float = HOLD_SECONDS,
        kept: Kept | None = None,
        most_answered: int = MAX_ANSWERED,
    ) -> None:
        self._scorer, self._order = scorer, Order(hold)
        self.kept = Kept() if kept is None else kept
        self._answered: OrderedDict[tuple[str, str], StreamFacts] = OrderedDict()
        self._most_answered = most_answered
        self._asked: dict[tuple[str, str], asyncio.Future[StreamFacts]] = {}
        self.rows = Counter(
            "homeostat_stream_rows", "Rows of streams by fate", ["detector", "fate"], registry=registry
        )
        self.batches = Counter(
            "homeostat_stream_batches", "Batches of rows that were scored", ["detector"], registry=registry
        )

    async def close(self) -> None:
        await self._scorer.close()

    async def observe(
        self, event: SamplesReceived | KafkaRecord, context: Context, detector: Detector
    ) -> StreamFacts | None:
        """What the event's rows were found to be; None while nothing serves, which counts them as unscored.

        Raises Reject with every fault of the rows, and Retry while the serving revision cannot be asked.
        """
        in_order = await self._order.turn(context)
        samples = read(event, detector.spec, context.key)
        if detector.status.serving is None and detector.status.canary is None:
            self._count(detector.name, "unscored", samples)
            return None
        key = (detector.name, " ".join((context.source, context.id, context.type)))
        if key in self._answered:
            self._count(detector.name, "repeated", samples)
            return self._answered[key]
        if key in self._asked:
            self._count(detector.name, "repeated", samples)
        else:
            self._count(detector.name, "in_order" if in_order else "late", samples)
            self._ask(key, samples, detector)
        # Scored to the end even when this delivery is given up: the next one finds the facts.
        return await asyncio.shield(self._asked[key])

    def _count(self, detector: str, fate: str, samples: Samples) -> None:
        self.rows.labels(detector, fate).inc(len(samples.rows))

    def _ask(self, key: tuple[str, str], samples: Samples, detector: Detector) -> None:
        answer: asyncio.Future[StreamFacts] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda done: self._answered_now(key, done))
        self._asked[key] = answer
        series = self.kept.find(detector.name, samples.series, detector.spec.data.channels)
        # None becomes NaN.
        series.waiting.append(Asked(key, samples, np.array(samples.rows, np.float64), answer))
        if series.work is None:
            series.work = asyncio.create_task(self._work_off(series), name=f"score {detector.name}")

    def _answered_now(self, key: tuple[str, str], done: asyncio.Future[StreamFacts]) -> None:
        del self._asked[key]
        done.exception()  # seen, even where nobody waits any more

    async def _work_off(self, series: Series) -> None:
        try:
            await asyncio.sleep(GATHER_SECONDS)
            while series.waiting:
                await self._answer_all(series, _batch(series.waiting))
        finally:
            series.work = None

    async def _answer_all(self, series: Series, batch: Sequence[Asked]) -> None:
        """One event that the revision refuses fails alone."""
        try:
            await self._judge(series, batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer to those who wait
            series.unsure = True
            alone = isinstance(error, Reject) and len(batch) > 1
            for one in batch:
                if alone:
                    await self._answer_all(series, [one])
                elif not one.answer.done():
                    one.answer.set_exception(error)

    async def _judge(self, series: Series, batch: Sequence[Asked]) -> None:
        rows = np.concatenate([one.rows for one in batch])
        self.batches.labels(series.detector).inc()
        scored = await self._scorer.score(
            series.detector, series.name, series.past, rows, unsure=series.unsure
        )
        await self._record(series, batch, np.concatenate([series.past, rows]), scored)

    async def _record(self, series: Series, batch: Sequence[Asked], whole: Rows, scored: Scored) -> None:
        # First, so that nothing that goes wrong below could have the rows appended again.
        end = len(whole) - len(scored.scores)
        series.unsure = False
        self.kept.remember(series, recent(whole, scored.tail).copy())
        start = 0
        for one in batch:
            part = slice(start, start + len(one.rows))
            alarms = list(follow(series.alarm, scored.flags[part], scored.scores[part], one.samples.times))
            for place in [place for place, alarm in enumerate(alarms) if alarm.is_news][:MAX_EXPLAINED]:
                alarms[place] = await self._explained(series, alarms[place], whole, end + start, scored)
            series.alarm = alarms[-1].carried() if alarms and not alarms[-1].ended else None
            facts = StreamFacts(series.name, scored.revision, scored.threshold, tuple(alarms))
            self._remember(one.key, facts)
            one.answer.set_result(facts)
            start = part.stop

    async def _explained(
        self, series: Series, alarm: Alarm, whole: Rows, start: int, scored: Scored
    ) -> Alarm:
        """The alarm with the channels' shares in the score of its highest row, if that came just now."""
        if alarm.row is None:
            return alarm
        until = start + alarm.row + 1
        window = whole[max(0, until - scored.tail - 1) : until]
        shares = await self._scorer.shares(series.detector, scored.revision, window)
        return replace(alarm, channels=shares)

    def _remember(self, key: tuple[str, str], facts: StreamFacts) -> None:
        self._answered[key] = facts
        while len(self._answered) > self._most_answered:
            self._answered.popitem(last=False)


def _batch(waiting: deque[Asked]) -> list[Asked]:
    """The events whose turn it is: one at least, and as many as `BATCH_ROWS` allows."""
    batch = [waiting.popleft()]
    rows = len(batch[0].rows)
    while waiting and (rows := rows + len(waiting[0].rows)) <= BATCH_ROWS:
        batch.append(waiting.popleft())
    return batch
