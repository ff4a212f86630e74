"""What the command line shows of a home: its events, its dead letters, its detectors and their reasons.

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
from homeostat.eventing.wire import WireEvent

from ..chain import BrokenChain, Link, chain, promotion, tell
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


def line(event: WireEvent) -> str:
    """One event for people: time, type, detector, what it says."""
    attributes = event.attributes
    at = attributes.get("time", "")[11:19]
    kind = attributes["type"].removeprefix("dev.homeostat.")
    detector = attributes.get("subject") or attributes.get("inferenceservicename", "-")
    return f"{at} {detector} {kind}  {tell(event)}".rstrip()


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


def status_row(document: Mapping[str, Any]) -> tuple[str, ...]:
    """One detector as a table row."""
    status = document["status"]
    serving, canary, drift = status["serving"], status["canary"], status["drift"]
    phase = next(
        (
            word
            for word, busy in (("Training", "run"), ("Judging", "judging"), ("Canary", "canary"))
            if status[busy]
        ),
        "Serving" if serving else "Waiting",
    )
    return (
        document["metadata"]["name"],
        phase,
        f"{serving['name']} ({serving['algorithm']} v{serving['version']})" if serving else "-",
        f"{canary['revision']['name']} {canary['percent']} %" if canary else "-",
        f"{drift['statistic']:.3g} of {drift['threshold']:.3g}" if drift["statistic"] is not None else "-",
        str(status["new_rows"]),
        status["message"],
    )


def explain(settings: Settings, detector: str) -> list[Link]:
    """The chain from the first cause to the serving revision. Raises Reject when there is none yet."""
    serving = status_of(settings, detector)["status"]["serving"]
    if serving is None:
        raise Reject(Fault("detector", shown(detector), "nothing serves yet; see `homeostat status`"))
    events = [one.event for one in follow_events(settings, forever=False, everything=True)]
    promoted = promotion(events, detector, serving["name"])
    if promoted is None:
        mend = "its promotion is no longer in the event log"
        raise Reject(Fault("revision", shown(serving["name"]), mend))
    try:
        return chain(events, promoted)
    except BrokenChain as broken:
        raise Reject(Fault("chain", shown(serving["name"]), str(broken))) from None
