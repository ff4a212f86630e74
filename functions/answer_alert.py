"""What an alert leads to: the Detector's alert map says what is done about which labels.

Each alert that fires is an incident until it is resolved. One that is told again while its incident is open
changes nothing; one that is over only closes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from homeostat.eventing.messages import (
    AlertFired,
    AlertResolved,
    Event,
    RollbackRequested,
    TrainingRequested,
    TuningRequested,
)

from .detector import Detector, Incident, Message
from .spec import AlertRule

MOST_INCIDENTS = 100
"""Open at a time; the oldest go first, for an alert's end may never be told."""


def decide(event: AlertFired | AlertResolved, detector: Detector) -> Iterable[Message]:
    known = detector.status.incidents
    same = [one for one in known if (one.fingerprint, one.starts_at) == (event.fingerprint, event.starts_at)]
    if isinstance(event, AlertResolved):
        if same:
            left = tuple(one for one in known if one not in same)
            yield detector.remember(incidents=left, message=f"alert {event.alertname} is over")
        return
    if same:
        return
    action = next((rule.action for rule in detector.spec.alerts if matches(rule, event)), "none")
    incident = Incident(
        fingerprint=event.fingerprint,
        starts_at=event.starts_at,
        alertname=event.alertname,
        action=action,
        since=detector.now,
    )
    kept = (*known, incident)[-MOST_INCIDENTS:]
    yield detector.remember(incidents=kept, message=f"alert {event.alertname}: {action}")
    yield from _asked(action, event)


def matches(rule: AlertRule, event: AlertFired) -> bool:
    """Whether every label that the rule names has its value."""
    return all(_has(event.labels.get(name), wanted) for name, wanted in rule.match.items())


def _has(value: str | None, wanted: str) -> bool:
    if value is None:
        return False
    return bool(re.fullmatch(wanted[1:], value)) if wanted.startswith("~") else value == wanted


def _asked(action: str, event: AlertFired) -> Iterable[Event]:
    reason = f"alert {event.alertname}"
    match action:
        case "retrain":
            yield TrainingRequested(trigger="alert", reason=reason)
        case "tune":
            yield TuningRequested(reason=reason)
        case "rollback":
            yield RollbackRequested(reason=reason, revision=event.labels.get("revision", ""))
