"""What a decision needs measured, measured on this machine, in threads, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

import aiohttp

from homeostat.eventing.codec import Context
from homeostat.eventing.messages import CanaryTick
from homeostat.functions.canary import CanaryFacts
from homeostat.functions.detector import Batch, Detector, RevisionFigures
from homeostat.functions.score_stream import StreamFacts
from homeostat.functions.take_label import QualityFacts
from homeostat.functions.work import State, WorkFacts

from ..observing.batches import batches
from ..observing.labels import LabelObserver
from ..observing.stream import StreamObserver
from ..shell import Observe
from .figures import SCRAPE_TIMEOUT, canary_facts, query, scrape
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


def labels_of(settings: Settings, serving: Serving) -> LabelObserver:
    """What was answered waits for its labels in a file of the state."""

    async def counters(detector: Detector) -> RevisionFigures | None:
        revision = detector.status.serving
        if revision is None:
            return None
        if settings.prometheus_url:
            return await asyncio.to_thread(query, settings.prometheus_url, detector.name, revision.name)
        async with aiohttp.ClientSession(timeout=SCRAPE_TIMEOUT) as client:
            return await scrape(client, serving, detector.name, revision.name)

    return LabelObserver(settings.labels_db, counters, serving.router.registry)


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
        QualityFacts: labels_of(settings, serving).observe,
        StreamFacts: stream.observe,
        WorkFacts: work,
    }
