"""What people, or alerts, want of the canary and of what serves: promote, pause, resume, roll back."""

from __future__ import annotations

from collections.abc import Iterable

from homeostat.eventing.messages import (
    CanaryPaused,
    CanaryResumed,
    RollbackRequested,
    RolloutRequested,
)

from .canary import CanaryFacts
from .detector import Canary, Detector, Message
from .promotion import promote, restore, roll_back


def steered(event: RolloutRequested, detector: Detector, facts: CanaryFacts | None) -> Iterable[Message]:
    canary = detector.status.canary
    if canary is None:
        return (detector.remember(message=f"{event.action} asked for, but no canary is on trial"),)
    match event.action:
        case "promote":
            return _promoted(event, canary, detector, facts)
        case "pause":
            return () if canary.paused else _paused(event, canary, detector)
        case "resume":
            return _resumed(event, canary, detector) if canary.paused else ()


def taken_back(event: RollbackRequested, detector: Detector) -> Iterable[Message]:
    """The canary goes first. A request that names a revision is about that one, or about nothing any more."""
    canary, serving, named = detector.status.canary, detector.status.serving, event.revision
    if canary and named in ("", canary.revision.name):
        return roll_back(event.reason, canary, detector, {})
    if not named or (serving and serving.name == named):
        return restore(event.reason, detector)
    said = f"rollback of {named} asked for ({event.reason}), but it is neither on trial nor does it serve"
    return (detector.remember(message=said),)


def _promoted(
    event: RolloutRequested, canary: Canary, detector: Detector, facts: CanaryFacts | None
) -> Iterable[Message]:
    """People may know better than its figures; but what cannot answer gets no traffic from anybody."""
    name = canary.revision.name
    if facts and (facts.refused or not facts.ready):
        why = facts.refused or "it is not ready"
        return (detector.remember(message=f"{name} cannot be promoted: {why}"),)
    return promote(canary, f"{event.reason}, by {event.by or 'hand'}", detector, {})


def _paused(event: RolloutRequested, canary: Canary, detector: Detector) -> Iterable[Message]:
    name, percent = canary.revision.name, canary.percent
    said = f"canary {name} paused at {percent} % by {event.by or 'hand'}: {event.reason}"
    yield detector.remember(canary=canary.model_copy(update={"paused": True}), message=said)
    yield CanaryPaused(revision=name, percent=percent, by=event.by)


def _resumed(event: RolloutRequested, canary: Canary, detector: Detector) -> Iterable[Message]:
    """Its step has its whole time again: what people held up is not late."""
    name, percent = canary.revision.name, canary.percent
    going = canary.model_copy(update={"paused": False, "step_started": detector.now})
    said = f"canary {name} goes on at {percent} %, by {event.by or 'hand'}"
    yield detector.remember(canary=going, message=said)
    yield CanaryResumed(revision=name, percent=percent, by=event.by)
