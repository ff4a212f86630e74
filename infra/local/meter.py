"""Counters of each revision behind the router: requests by outcome, latency, and how many are in flight; of a
shadow, the copies that it answered and how they compare."""

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
        self._shadow_requests = Counter(
            "homeostat_shadow_requests",
            "Copies of requests that a shadow was asked",
            ["detector", "revision", "outcome"],
            registry=registry,
        )

        def of_shadows(name: str, text: str) -> Counter:
            return Counter(name, text, ["detector", "revision"], registry=registry)

        self._shadow_rows = of_shadows("homeostat_shadow_rows", "Rows that a shadow and stable both judged")
        self._shadow_agreed = of_shadows("homeostat_shadow_agreed", "Of those, the ones with the same flag")
        self._shadow_dropped = of_shadows("homeostat_shadow_dropped", "Copies for which there was no room")
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
            self._shadow_requests.remove(detector, revision, outcome)
        for one in (self._latency, self._shadow_rows, self._shadow_agreed, self._shadow_dropped):
            one.remove(detector, revision)

    def add_shadow(self, detector: str, revision: str) -> None:
        for outcome in OUTCOMES:
            self._shadow_requests.labels(detector, revision, outcome)
        for one in (self._shadow_rows, self._shadow_agreed, self._shadow_dropped):
            one.labels(detector, revision)

    def shadowed(self, detector: str, revision: str, outcome: str, rows: int, agreed: int) -> None:
        """A copy was answered; of `rows` that could be compared, `agreed` have stable's flag."""
        self._shadow_requests.labels(detector, revision, outcome).inc()
        self._shadow_rows.labels(detector, revision).inc(rows)
        self._shadow_agreed.labels(detector, revision).inc(agreed)

    def shadow_dropped(self, detector: str, revision: str) -> None:
        self._shadow_dropped.labels(detector, revision).inc()

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
