"""What a decision needs measured, measured on this machine, in threads, off the event loop."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from homeostat.eventing.codec import Context
from homeostat.eventing.messages import DataLanded
from homeostat.functions.canary import CanaryFacts
from homeostat.functions.detector import Batch, Detector
from homeostat.functions.receive_data import recorded
from homeostat.functions.score_stream import StreamFacts

from ..shell import Observe
from .figures import canary_facts
from .inspect_data import inspect_batch
from .scorer import Scorer
from .serving import Serving
from .settings import Settings
from .stream import StreamObserver

_FINER = re.compile(r"(\.\d{6})\d+")


def stream_of(serving: Serving) -> StreamObserver:
    """The stream's eyes; its rows are counted where the router's requests are."""
    return StreamObserver(Scorer(serving.router, serving.url), registry=serving.router.registry)


def observers(
    settings: Settings, serving: Serving, stream: StreamObserver | None = None
) -> Mapping[type[Any], Observe]:
    """The eyes of the functions that run inside `homeostat up`. Who hands in a `stream` closes it."""
    stream = stream or stream_of(serving)

    async def batch(event: DataLanded, context: Context, detector: Detector) -> Batch | None:
        # A store has the newest version only: an older one would be waited for, and others behind it.
        if known := recorded(detector, event.uri, event.etag, event.sequencer):
            return known
        return await asyncio.to_thread(
            inspect_batch,
            event,
            detector.spec,
            datetime.now(UTC),
            settings.max_object_bytes,
            announced=_moment(context.time),
        )

    async def canary(_: object, __: Context, detector: Detector) -> CanaryFacts | None:
        trial = detector.status.canary
        if trial is None:
            return None
        return await canary_facts(
            serving, detector.name, trial.revision.name, prometheus_url=settings.prometheus_url
        )

    return {Batch: batch, CanaryFacts: canary, StreamFacts: stream.observe}


def _moment(text: str | None) -> datetime | None:
    """An event's time; senders may write more digits of a second than Python reads."""
    return datetime.fromisoformat(_FINER.sub(r"\1", text)).astimezone(UTC) if text else None
