"""What people are shown of Detectors and their events, wherever these are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from homeostat.eventing.errors import Fault, Reject, shown
from homeostat.eventing.wire import WireEvent
from homeostat.functions.detector import Canary, Status

from .chain import BrokenChain, Link, chain, promotion, tell

COLUMNS = ("detector", "phase", "serving", "canary", "drift", "new rows", "message")

MOST_ALERTS = 5
"""Of one Detector, in a table; `--output json` has them all."""


def line(event: WireEvent) -> str:
    """One event for people: time, type, detector, what it says."""
    attributes = event.attributes
    at = attributes.get("time", "")[11:19]
    kind = attributes["type"].removeprefix("dev.homeostat.")
    detector = attributes.get("subject") or attributes.get("inferenceservicename", "-")
    return f"{at} {detector} {kind}  {tell(event)}".rstrip()


def status_row(document: Mapping[str, Any]) -> tuple[str, ...]:
    """One Detector's `COLUMNS`."""
    found = document["status"]
    status = Status.model_validate({key: value for key, value in found.items() if key in Status.model_fields})
    serving, canary, drift = status.serving, status.canary, status.drift
    measured = drift.statistic is not None and drift.threshold is not None
    return (
        document["metadata"]["name"],
        status.phase,
        f"{serving.name} ({serving.algorithm} v{serving.version})" if serving else "-",
        _told_of_canary(canary) if canary else "-",
        f"{drift.statistic:.3g} of {drift.threshold:.3g}" if measured else "-",
        str(status.new_rows),
        "\n".join((status.message, *_fires(status))),
    )


def _fires(status: Status) -> Iterator[str]:
    """A line for each of the last alerts that have not ended."""
    for one in status.incidents[-MOST_ALERTS:]:
        yield f"fires since {one.since:%H:%M:%S}: {one.alertname} ({one.action})"
    if len(status.incidents) > MOST_ALERTS:
        yield f"and {len(status.incidents) - MOST_ALERTS} older ones"


def _told_of_canary(canary: Canary) -> str:
    share = "shadow" if canary.shadow else f"{canary.percent} %"
    return f"{canary.revision.name} {share}{', paused' if canary.paused else ''}"


def reasons(events: Sequence[WireEvent], document: Mapping[str, Any]) -> list[Link]:
    """The chain from the first cause to the revision that serves. Raises Reject when there is none yet."""
    name, serving = document["metadata"]["name"], document["status"]["serving"]
    if serving is None:
        raise Reject(Fault("detector", shown(name), "nothing serves yet; see `homeostat status`"))
    promoted = promotion(events, name, serving["name"])
    if promoted is None:
        mend = "its promotion is no longer in the event log"
        raise Reject(Fault("revision", shown(serving["name"]), mend))
    try:
        return chain(events, promoted)
    except BrokenChain as broken:
        raise Reject(Fault("chain", shown(serving["name"]), str(broken))) from None


def named(documents: Sequence[Mapping[str, Any]], detector: str) -> Mapping[str, Any]:
    """The Detector of that name. Raises Reject with the names that there are."""
    for document in documents:
        if document["metadata"]["name"] == detector:
            return document
    known = ", ".join(one["metadata"]["name"] for one in documents) or "none yet"
    raise Reject(Fault("detector", shown(detector), f"there is no such Detector (known: {known})"))
