"""Wishes for a new model: what an event asks for, how two become one, and whether one is still true."""

from __future__ import annotations

from datetime import datetime

from homeostat.eventing.messages import DriftDetected, TrainingRequested, TuningCompleted, TuningRequested

from .detector import Cause, Detector, Waiting

MAX_DEBOUNCE = 10
"""A stream of requests postpones training by at most so many debounce periods."""
STRENGTH = {"data": 0, "drift": 1, "alert": 2, "hand": 3, "tuning": 4}


def wish(event: object, detector: Detector) -> Waiting | None:
    """What the event asks for; None for the events that only make us look again."""
    match event:
        case TrainingRequested():
            return Waiting(
                trigger=event.trigger,
                reason=event.reason,
                since=detector.now,
                not_before=_earliest(event.force, detector),
                candidates=event.candidates,
                parameters={name: dict(values) for name, values in event.parameters.items()},
                force=event.force,
                cause=detector.cause,
            )
        case TuningRequested():
            return Waiting(
                trigger=event.trigger,
                reason=event.reason,
                since=detector.now,
                not_before=_earliest(event.force, detector),
                candidates=event.candidates,
                force=event.force,
                tune=True,
                cause=detector.cause,
            )
        case DriftDetected():
            return _of_drift(event, detector)
        case TuningCompleted():
            return _of_parameters(event, detector)
    return None


def _earliest(force: bool, detector: Detector) -> datetime:
    return detector.now if force else detector.now + detector.spec.retrain.debounce


def _of_drift(event: DriftDetected, detector: Detector) -> Waiting | None:
    """Drift that is there again, on a revision that was trained to answer it, asks for better parameters."""
    serving = detector.status.serving
    # Drift that arrives after its revision was replaced says nothing about the one that serves now.
    if serving and serving.name != event.revision:
        return None
    answered = serving is not None and serving.trigger == "drift"
    persists = answered and detector.spec.tuning.when == "drift-persists"
    what = "" if event.on == "features" else f" of {event.on}"
    channels = f" in {', '.join(event.channels)}" if event.channels else ""
    return Waiting(
        trigger="drift",
        reason=f"drift{what}{' that persists' if persists else ''}{channels}",
        since=detector.now,
        not_before=_earliest(False, detector),
        tune=persists,
        cause=detector.cause,
    )


def _of_parameters(event: TuningCompleted, detector: Detector) -> Waiting | None:
    """What was searched for is trained with at once: the search has passed the guards."""
    tuning = detector.status.tuning
    if tuning is None or tuning.name != event.experiment:
        return None
    measured = "" if event.value is None else f", {event.metric} {event.value:.3g}"
    return Waiting(
        trigger="tuning",
        reason=f"the parameters that {event.experiment} found{measured}",
        since=detector.now,
        not_before=detector.now,
        candidates=(event.algorithm,),
        parameters={event.algorithm: dict(event.parameters)},
        force=True,
        cause=detector.cause,
    )


def instead_of_tuning(error: str, cause: Cause, detector: Detector) -> Waiting:
    """The plain training that drift is answered by when its search has failed."""
    return Waiting(
        trigger="drift",
        reason=f"drift, as tuning failed: {error[:200]}",
        since=detector.now,
        not_before=detector.now,
        cause=cause,
    )


def merge(first: Waiting | None, later: Waiting | None) -> Waiting | None:
    """One wish out of two: the stronger trigger names it, later parameters win, and the debounce is
    prolonged up to its limit. Of two for drift the first says whether to tune: after a search that failed,
    the drift that is still there does not ask for another."""
    if first is None or later is None:
        return first or later
    strong = max(first, later, key=lambda one: STRENGTH[one.trigger])
    longest = first.since + MAX_DEBOUNCE * (later.not_before - later.since)
    both_drift = first.trigger == later.trigger == "drift"
    return strong.model_copy(
        update={
            "since": first.since if strong.trigger == first.trigger else strong.since,
            "not_before": max(first.not_before, min(later.not_before, longest)),
            "candidates": later.candidates or first.candidates,
            "parameters": later.parameters or first.parameters,
            "force": first.force or later.force,
            "tune": first.tune or (later.tune and not both_drift),
        }
    )


def still_true(waiting: Waiting | None, detector: Detector) -> Waiting | None:
    """Look at the level again: what is left of the wish, if it still needs doing?"""
    if waiting is None or waiting.force or waiting.trigger in ("hand", "tuning"):
        return waiting
    answered = _promoted_since(waiting.since, detector)
    if waiting.trigger == "alert" and fires(detector):
        return _later(waiting, answered, detector)
    if waiting.trigger == "drift" and not answered:
        return waiting
    return _what_is_left(waiting, detector)


def fires(detector: Detector) -> bool:
    """Whether an alert that asks for a new model has not ended."""
    return any(one.action in ("retrain", "tune") for one in detector.status.incidents)


def _promoted_since(then: datetime, detector: Detector) -> datetime | None:
    serving = detector.status.serving
    return serving.promoted if serving and serving.promoted and serving.promoted > then else None


def _later(waiting: Waiting, answered: datetime | None, detector: Detector) -> Waiting:
    """What was promoted since the alert fired may be its answer: it gets a while to end the alert."""
    if answered is None:
        return waiting
    earliest = answered + detector.spec.retrain.cooldown
    return waiting.model_copy(update={"not_before": max(waiting.not_before, earliest)})


def _what_is_left(waiting: Waiting, detector: Detector) -> Waiting | None:
    """A wish that is answered or void may have swallowed one for drift, or for the rows that came since."""
    drift, rows = detector.status.drift, detector.status.new_rows
    if waiting.trigger == "alert" and drift.latched:
        return waiting.model_copy(update={"trigger": "drift", "reason": "drift", "tune": False})
    if rows < detector.spec.retrain.min_new_rows:
        return None
    if waiting.trigger == "data":
        return waiting
    return waiting.model_copy(update={"trigger": "data", "reason": f"{rows} new rows", "tune": False})
