"""How a run tells the broker that it ended: the same event, with the same id, however often it is told."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from homeostat.eventing import codec
from homeostat.eventing.doors.calling import authorization_of, trust_of
from homeostat.eventing.messages import TrainingCompleted, TrainingFailed
from homeostat.eventing.wire import WireEvent, encode

SOURCE = "/homeostat/pipelines/training"
ATTEMPTS = 8
ERROR_LENGTH = 2000


@dataclass(frozen=True, slots=True)
class Cause:
    """The event that the run answers."""

    id: str
    correlationid: str
    hops: int = 0
    traceparent: str | None = None


def completed_event(detector: str, cause: Mapping[str, Any], completed: Mapping[str, Any]) -> WireEvent:
    """`training.completed`, from its data."""
    message = codec.message(TrainingCompleted, dict(completed))
    return _announce(message, detector, Cause(**cause), 0)


def failed_event(detector: str, cause: Mapping[str, Any], run: str, step: str, error: str) -> WireEvent:
    """`training.failed`: which step, and why."""
    message = TrainingFailed(run=run, step=step, error=error[-ERROR_LENGTH:])
    return _announce(message, detector, Cause(**cause), 1)


def _announce(
    message: TrainingCompleted | TrainingFailed | Any, detector: str, cause: Cause, place: int
) -> WireEvent:
    return codec.announce(
        message,
        id=codec.identity(cause.id, "training", detector, place),
        source=SOURCE,
        subject=detector,
        cause=cause,
        now=datetime.now(UTC),
    )


def post(sink: str, event: WireEvent) -> None:
    """Post to the broker, patiently: it may be starting again. Raises httpx.HTTPError in the end."""
    headers, body = encode(event)
    headers += authorization_of(os.environ).items()
    trusted = trust_of(os.environ)
    for attempt in range(ATTEMPTS):
        try:
            answer = httpx.post(sink, headers=headers, content=body, timeout=10, verify=trusted)
            if answer.status_code < 500 and answer.status_code not in (404, 408, 429):
                answer.raise_for_status()
                return
        except httpx.TransportError:
            if attempt == ATTEMPTS - 1:
                raise
        time.sleep(min(0.5 * 2**attempt, 10))
    answer.raise_for_status()
