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
                trigger="hand",
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
    channels = f" in {', '.join(event.channels)}" if event.channels else ""
    return Waiting(
        trigger="drift",
        reason=f"drift{' that persists' if persists else ''}{channels}",
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
    if waiting is None or waiting.force or waiting.trigger in ("alert", "hand", "tuning"):
        return waiting
    status = detector.status
    promoted = status.serving.promoted if status.serving else None
    if waiting.trigger == "drift" and not (promoted and promoted > waiting.since):
        return waiting
    if status.new_rows < detector.spec.retrain.min_new_rows:
        return None
    # Drift that a promotion answered may have swallowed a request for the rows that came since.
    if waiting.trigger == "drift":
        rows = f"{status.new_rows} new rows"
        return waiting.model_copy(update={"trigger": "data", "reason": rows, "tune": False})
    return waiting
