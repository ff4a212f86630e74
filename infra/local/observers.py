"""What a decision needs measured, measured on this machine, in threads, off the event loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from homeostat.eventing.codec import Context
from homeostat.eventing.messages import CanaryTick
from homeostat.functions.canary import CanaryFacts
from homeostat.functions.detector import Batch, Detector
from homeostat.functions.score_stream import StreamFacts
from homeostat.functions.work import State, WorkFacts

from ..observing.batches import batches
from ..observing.stream import StreamObserver
from ..shell import Observe
from .figures import canary_facts
from .scorer import Scorer
from .serving import Serving
from .settings import Settings

STATES: Mapping[str, State] = {
    "queued": "running",
    "running": "running",
    "succeeded": "succeeded",
    "failed": "failed",
}


class Engine(Protocol):
    """Of training runs, or of searches: the state of each by its name."""

    def states(self) -> Mapping[str, str]: ...


def stream_of(serving: Serving) -> StreamObserver:
    """The stream's eyes; its rows are counted where the router's requests are."""
    return StreamObserver(Scorer(serving.router, serving.url), registry=serving.router.registry)


def observers(
    settings: Settings,
    serving: Serving,
    stream: StreamObserver | None = None,
    *,
    runs: Engine | None = None,
    searches: Engine | None = None,
) -> Mapping[type[Any], Observe]:
    """The eyes of the functions that run inside `homeostat up`. Who hands in a `stream` closes it."""
    stream = stream or stream_of(serving)

    async def canary(_: object, __: Context, detector: Detector) -> CanaryFacts | None:
        trial = detector.status.canary
        if trial is None:
            return None
        return await canary_facts(
            serving, detector.name, trial.revision.name, prometheus_url=settings.prometheus_url
        )

    async def work(event: object, _: Context, detector: Detector) -> WorkFacts | None:
        """On this loop, where the engines are."""
        status = detector.status
        found, engine = (status.run, runs) if status.run else (status.tuning, searches)
        if found is None or not isinstance(event, CanaryTick):
            return None
        if engine is None:
            return WorkFacts(found.name, None, "this home has no engine to ask")
        said = engine.states().get(found.name)
        return WorkFacts(found.name, "gone" if said is None else STATES.get(said))

    return {
        Batch: batches(settings.max_object_bytes),
        CanaryFacts: canary,
        StreamFacts: stream.observe,
        WorkFacts: work,
    }
