"""What an alert leads to: the Detector's alert map says what is done about which labels.

Each alert that fires is an incident until it is resolved, and is answered once. Alertmanagers tell an alert
again and again, from each of their peers, and events overtake each other: what was answered already, and what
is told after its end, changes nothing. A later start of an alert that never ended is another incident: its
end was not told.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from homeostat.eventing.errors import Fault, Reject, shown
from homeostat.eventing.messages import (
    AlertFired,
    AlertResolved,
    Event,
    RollbackRequested,
    TrainingRequested,
    TuningRequested,
)

from .detector import Detector, Incident, Message, Over
from .patterns import matches

MOST_INCIDENTS = 100
"""Open at a time, and as many ends that are remembered; the oldest go first, for an end may never be told."""

LONGEST_NAME = 200
"""Characters of an alert's name that are repeated in a status and in reasons."""


def decide(event: AlertFired | AlertResolved, detector: Detector) -> Iterable[Message]:
    if isinstance(event, AlertResolved):
        return _end(event, detector)
    return _begin(event, detector)


def _begin(event: AlertFired, detector: Detector) -> Iterable[Message]:
    known, started = detector.status.incidents, _instant("starts_at", event.starts_at)
    same = [one for one in known if one.fingerprint == event.fingerprint]
    # Alertmanager gives an alert that two Prometheus tell the earlier of their starts.
    if any(started <= _instant("starts_at", one.starts_at) for one in same):
        return
    if any(started <= one.until for one in detector.status.over if one.fingerprint == event.fingerprint):
        return
    fitting = (rule.action for rule in detector.spec.alerts if matches(rule.match, event.labels))
    incident = Incident(
        fingerprint=event.fingerprint,
        starts_at=event.starts_at,
        alertname=event.alertname[:LONGEST_NAME],
        action=next(fitting, "none"),
        since=detector.now,
    )
    others = [one for one in known if one not in same]
    yield detector.remember(
        incidents=(*others, incident)[-MOST_INCIDENTS:],
        message=f"alert {incident.alertname}: {incident.action}",
    )
    yield from _asked(incident, event)


def _asked(incident: Incident, event: AlertFired) -> Iterable[Event]:
    reason = f"alert {incident.alertname}"
    match incident.action:
        case "retrain":
            yield TrainingRequested(trigger="alert", reason=reason)
        case "tune":
            yield TuningRequested(trigger="alert", reason=reason)
        case "rollback":
            yield RollbackRequested(reason=reason, revision=event.labels.get("revision", ""))


def _end(event: AlertResolved, detector: Detector) -> Iterable[Message]:
    """Its incident is closed, and what fired until then and is told later is not news any more."""
    known, over = detector.status.incidents, detector.status.over
    # No start lies after its end, whatever a sender's clock says, and no end after it was told.
    ended = min(_instant("ends_at", event.ends_at), detector.now)
    until = max(ended, _instant("starts_at", event.starts_at))
    closed = [
        one
        for one in known
        if one.fingerprint == event.fingerprint and _instant("starts_at", one.starts_at) <= until
    ]
    ends = {one.fingerprint: one.until for one in over}
    news = event.fingerprint not in ends or until > ends[event.fingerprint]
    if not closed and not news:
        return
    if news:
        ends[event.fingerprint] = until
    latest = sorted(ends.items(), key=lambda one: one[1])[-MOST_INCIDENTS:]
    left = tuple(one for one in known if one not in closed)
    yield detector.remember(
        incidents=left,
        over=tuple(Over(fingerprint=name, until=end) for name, end in latest),
        **({"message": f"alert {event.alertname[:LONGEST_NAME]} is over"} if closed else {}),
    )


def _instant(field: str, text: str) -> datetime:
    """An RFC 3339 time to the microsecond. Raises Reject for what is none."""
    try:
        found = datetime.fromisoformat(text.upper())
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise Reject(Fault(field, shown(text), "write RFC 3339, such as 2026-11-23T15:04:05Z"))
    return found
