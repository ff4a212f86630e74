"""What the command line reads of a home: its events, its dead letters, its detectors and their reasons.

Everything is read from the files under the state directory, so it works while the home runs, and after.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from homeostat.eventing.broker.log import EventLog, Logged
from homeostat.eventing.errors import Fault, Reject, shown
from homeostat.eventing.messages import (
    CanaryTick,
    InferenceRequest,
    InferenceResponse,
    KafkaRecord,
    SamplesReceived,
)

from ..chain import Link
from ..views import reasons
from .client import status_of
from .settings import Settings
from .store import Store

PAGE = 500
POLL_SECONDS = 0.2
BUSY = (
    CanaryTick.type,
    InferenceRequest.type,
    InferenceResponse.type,
    SamplesReceived.type,
    KafkaRecord.type,
)
"""Types that come by the second; people see them only when they ask for everything."""


def _log(settings: Settings) -> EventLog:
    if not settings.broker_db.exists():
        mend = "no home has run here; start one with `homeostat up` or give its --state"
        raise Reject(Fault("--state", shown(str(settings.state)), mend))
    return EventLog(settings.broker_db)


def follow_events(settings: Settings, *, forever: bool, everything: bool) -> Iterator[Logged]:
    """Accepted events, oldest first; `forever` waits for more."""
    log, after = _log(settings), 0
    while True:
        page = log.events(after, PAGE)
        for logged in page:
            after = logged.sequence
            if everything or logged.event.attributes["type"] not in BUSY:
                yield logged
        if not page and not forever:
            return
        if not page:
            time.sleep(POLL_SECONDS)


def dead_letters(settings: Settings) -> list[Mapping[str, Any]]:
    return [
        {
            "id": letter.event.attributes["id"],
            "type": letter.event.attributes["type"],
            "subject": letter.event.attributes.get("subject", ""),
            "trigger": letter.trigger,
            "code": letter.code,
            "reason": letter.reason,
        }
        for letter in _log(settings).dead()
    ]


def statuses(settings: Settings) -> Sequence[Mapping[str, Any]]:
    store = Store(settings.detectors_db)
    documents = store.documents()
    store.close()
    return documents


def explain(settings: Settings, detector: str) -> list[Link]:
    """The chain from the first cause to the serving revision. Raises Reject when there is none yet."""
    document = status_of(settings, detector)
    if document["status"]["serving"] is None:
        return reasons([], document)
    return reasons([one.event for one in follow_events(settings, forever=False, everything=True)], document)
