"""Requests and answers as events, exactly as KServe's payload logger sends them (kserve, pkg/logger).

Both events of a pair share id and source, and an answer is logged only when it is a 200. The queue is bounded
by events and by bytes, and what does not fit is dropped and counted: no request ever waits for its log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from uuid import uuid4

from prometheus_client import CollectorRegistry, Counter

from homeostat.eventing.messages import InferenceRequest, InferenceResponse
from homeostat.eventing.wire import WireEvent

from .exchange import Ask, Reply

log = logging.getLogger(__name__)

SOURCE = "http://localhost:9081/"
"""KServe's agent names its own address; ours is fixed, so that a detector's events look alike everywhere."""
MAX_EVENTS = 2000
MAX_BYTES = 64 * 1024 * 1024
BATCH = 200

Emit = Callable[[Sequence[WireEvent]], Awaitable[object]]


class PayloadLog:
    """Samples request/answer pairs at `rate` (0 to 1) and hands them to `emit` in batches."""

    def __init__(
        self,
        emit: Emit,
        *,
        rate: float = 1.0,
        namespace: str = "default",
        max_events: int = MAX_EVENTS,
        max_bytes: int = MAX_BYTES,
        choice: random.Random | None = None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._emit, self._rate, self._namespace = emit, rate, namespace
        self._max_events, self._max_bytes = max_events, max_bytes
        self._choice = choice or random.Random()  # noqa: S311 - a sample, not a secret
        self._queue: deque[WireEvent] = deque()
        self._bytes = 0
        self._some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._events = Counter(
            "homeostat_payload_log_events", "Payload events by fate", ["fate"], registry=registry
        )

    async def start(self) -> None:
        self._task = asyncio.create_task(self._post(), name="payload-log")

    async def stop(self, within: float = 5.0) -> None:
        """Post what is queued, for at most `within` seconds; the rest is dropped and counted."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._queue:
                    await self._post_batch()
        self._count("dropped", len(self._queue))
        self._queue.clear()

    def record(self, detector: str, endpoint: str, ask: Ask, reply: Reply) -> None:
        """Queue the pair, if it is sampled and fits. Never blocks."""
        if self._rate < 1.0 and self._choice.random() >= self._rate:
            return
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        attributes = {
            "specversion": "1.0",
            "id": ask.header(b"ce-id") or str(uuid4()),
            "source": SOURCE,
            "type": InferenceRequest.type,
            "time": now,
            # KServe gives both events the request's content type.
            "datacontenttype": ask.header(b"content-type") or "application/json",
            "inferenceservicename": detector,
            "namespace": self._namespace,
            "component": "predictor",
            "endpoint": endpoint,
            "metadata": "{}",
            "recordedtime": now,
        }
        pair = [WireEvent(attributes, ask.body)]
        if reply.status == 200:
            pair.append(WireEvent({**attributes, "type": InferenceResponse.type}, reply.body))
        size = sum(len(one.data or b"") for one in pair)
        if len(self._queue) + len(pair) > self._max_events or self._bytes + size > self._max_bytes:
            self._count("dropped", len(pair))
            return
        self._queue.extend(pair)
        self._bytes += size
        self._some.set()

    async def _post(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            while self._queue:
                await self._post_batch()

    async def _post_batch(self) -> None:
        batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
        self._bytes -= sum(len(one.data or b"") for one in batch)
        fate = "dropped"
        try:
            await self._emit(batch)
            fate = "posted"
        except Exception as error:  # noqa: BLE001
            # A lost sample is no reason to stop sampling; the count tells how many were lost.
            log.warning("%d payload events were not accepted: %s", len(batch), error)
        finally:
            self._count(fate, len(batch))

    def _count(self, fate: str, events: int) -> None:
        if events:
            self._events.labels(fate).inc(events)
