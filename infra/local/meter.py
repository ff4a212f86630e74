"""Counters of each revision behind the router: requests by outcome, latency, and how many are in flight."""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Histogram

from homeostat.functions.canary import LATENCY_BUCKETS_MS

OUTCOMES = ("ok", "rejected", "error")
"""`rejected` is the client's fault (4xx); `error` is the revision's: 5xx, a timeout, no connection."""


class Meters:
    """Counted for (detector, revision). Everything here runs on one event loop."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "homeostat_router_requests",
            "Requests that were sent to a revision",
            ["detector", "revision", "outcome"],
            registry=registry,
        )
        self._latency = Histogram(
            "homeostat_router_latency_seconds",
            "Time until a revision had answered",
            ["detector", "revision"],
            buckets=[bound / 1000 for bound in LATENCY_BUCKETS_MS],
            registry=registry,
        )
        self._in_flight: Tally[tuple[str, str]] = Tally()
        self._idle: dict[tuple[str, str], asyncio.Event] = {}

    def add(self, detector: str, revision: str) -> None:
        """Show the revision with zeros: no requests yet is not the same as no figure."""
        for outcome in OUTCOMES:
            self._requests.labels(detector, revision, outcome)
        self._latency.labels(detector, revision)

    def remove(self, detector: str, revision: str) -> None:
        for outcome in OUTCOMES:
            self._requests.remove(detector, revision, outcome)
        self._latency.remove(detector, revision)

    def count(self, detector: str, revision: str, outcome: str) -> None:
        self._requests.labels(detector, revision, outcome).inc()

    @contextmanager
    def timed(self, detector: str, revision: str) -> Iterator[None]:
        key, begun = (detector, revision), perf_counter()
        self._in_flight[key] += 1
        try:
            yield
        finally:
            self._latency.labels(detector, revision).observe(perf_counter() - begun)
            self._in_flight[key] -= 1
            if not self._in_flight[key]:
                del self._in_flight[key]
                if idle := self._idle.pop(key, None):
                    idle.set()

    async def idle(self, detector: str, revision: str) -> None:
        """Return once no request is in flight at the revision."""
        if self._in_flight[detector, revision]:
            await self._idle.setdefault((detector, revision), asyncio.Event()).wait()
