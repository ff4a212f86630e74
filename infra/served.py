"""What the served functions count: events by how they ended, and how long each took."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

OUTCOMES = ("handled", "rejected", "put off", "failed")
"""202; 400, which goes to the dead letters; 503, which comes again; 500, which does as well."""
SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)


class Served:
    """One for a process, whatever it serves."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.events = Counter(
            "homeostat_events",
            "Events that came to a function, by how they ended.",
            ["function", "outcome"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "homeostat_event_seconds",
            "How long a function had an event.",
            ["function"],
            registry=self.registry,
            buckets=SECONDS,
        )

    def of(self, function: str) -> None:
        """Have all of the function's series there from the start: a rate needs a first value."""
        self.seconds.labels(function)
        for outcome in OUTCOMES:
            self.events.labels(function, outcome)
