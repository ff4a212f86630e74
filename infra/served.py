"""What the served functions count: events by how they ended and how long each took, what was decided on them,
and the runs that ended."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

from homeostat.eventing.messages import EVENTS, Event, TrainingCompleted, TrainingFailed
from homeostat.functions.detector import Detector, Message, Remember

OUTCOMES = ("handled", "rejected", "put off", "failed")
"""202; 400, which goes to the dead letters; 503, which comes again; 500, which does as well."""
SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)
RUN_SECONDS = (10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 4 * 3600.0, 24 * 3600.0)
RUNS: dict[type[Event], str] = {TrainingCompleted: "completed", TrainingFailed: "failed"}
"""How a run ended, by the event that says so."""
_OURS = "dev.homeostat."


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
        self.decisions = Counter(
            "homeostat_decisions",
            "What was decided: events by their types, commands by their names.",
            ["function", "message"],
            registry=self.registry,
        )
        self.run_seconds = Histogram(
            "homeostat_run_seconds",
            "From the start of a training to the event that tells its end.",
            ["outcome"],
            registry=self.registry,
            buckets=RUN_SECONDS,
        )

    def of(self, function: str) -> None:
        """Have all of the function's series there from the start: a rate needs a first value."""
        self.seconds.labels(function)
        for outcome in OUTCOMES:
            self.events.labels(function, outcome)

    def decided(self, function: str, woke: Event, detector: Detector, messages: Sequence[Message]) -> None:
        """A decision that was claimed; `detector` is the snapshot that it was taken on."""
        for one in called(messages):
            self.decisions.labels(function, one).inc()
        run, outcome = detector.status.run, RUNS.get(type(woke))
        # The event of a run that is not the one in flight was answered before, or comes late.
        if run and outcome and run.name == getattr(woke, "run", None):
            self.run_seconds.labels(outcome).observe((detector.now - run.started).total_seconds())


def called(messages: Sequence[Message]) -> list[str]:
    """`canary.started`, `StartCanary`: of a bounded set, as messages are. What is only remembered is none."""
    return [
        one.type.removeprefix(_OURS) if isinstance(one, EVENTS) else type(one).__name__
        for one in messages
        if not isinstance(one, Remember)
    ]
