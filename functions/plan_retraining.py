"""The only door to training. Every wish for a new model is weighed here against the guards.

Wishes that cannot be granted at once are merged into one (`status.waiting`) and looked at again on every
tick and after every run, by looking at the level again: is the reason still true? An edge that arrived
during a run is so never lost, and never answered twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import NAMESPACE_URL, uuid5

from homeostat.eventing.messages import (
    ApprovalGiven,
    CanaryRolledBack,
    CanaryTick,
    DriftDetected,
    EvalFailed,
    ModelPromoted,
    StartTraining,
    TrainingFailed,
    TrainingRequested,
)

from .approval import asks_in_suggest_mode
from .detector import Detector, Message, Run, Status, Waiting

DAY = timedelta(days=1)
MAX_DEBOUNCE = 10
"""A stream of requests postpones training by at most so many debounce periods."""
STRENGTH = {"data": 0, "drift": 1, "hand": 2}


@asks_in_suggest_mode("plan-retraining")
def decide(
    event: TrainingRequested
    | DriftDetected
    | TrainingFailed
    | EvalFailed
    | ModelPromoted
    | CanaryRolledBack
    | ApprovalGiven
    | CanaryTick,
    detector: Detector,
) -> Iterable[Message]:
    detector = detector.model_copy(update={"status": _settled(event, detector)})
    waiting = merge(detector.status.waiting, _wish(event, detector))
    if waiting is None or is_moot(waiting, detector):
        yield detector.remember(waiting=None)
        return
    reason = blocked(waiting, detector)
    if reason:
        yield detector.remember(waiting=waiting, message=f"training waits: {reason}")
    else:
        yield from _start(waiting, detector)


def _settled(event: object, detector: Detector) -> Status:
    """The status without a run that failed, or that nobody has heard of for twice its time."""
    run = detector.status.run
    if run is None:
        return detector.status
    if isinstance(event, TrainingFailed) and event.run == run.name:
        message = f"training failed at {event.step or 'start'}: {event.error[:200]}"
        unlatched = detector.status.drift.unlatched()
        return detector.status.model_copy(update={"run": None, "drift": unlatched, "message": message})
    if detector.now - run.started > 2 * detector.spec.retrain.timeout:
        return detector.status.model_copy(update={"run": None, "message": f"run {run.name} was lost"})
    return detector.status


def _wish(event: object, detector: Detector) -> Waiting | None:
    """What the event asks for; None for the events that only make us look again."""
    now = detector.now
    if isinstance(event, TrainingRequested):
        return Waiting(
            trigger=event.trigger,
            reason=event.reason,
            since=now,
            not_before=now if event.force else now + detector.spec.retrain.debounce,
            candidates=event.candidates,
            parameters={name: dict(values) for name, values in event.parameters.items()},
            force=event.force,
            cause=detector.cause,
        )
    if isinstance(event, DriftDetected):
        channels = f" in {', '.join(event.channels)}" if event.channels else ""
        return Waiting(
            trigger="drift",
            reason=f"drift{channels}",
            since=now,
            not_before=now + detector.spec.retrain.debounce,
            cause=detector.cause,
        )
    return None


def merge(first: Waiting | None, later: Waiting | None) -> Waiting | None:
    """One wish out of two: the stronger trigger names it, later parameters win, and the debounce is
    prolonged up to its limit."""
    if first is None or later is None:
        return first or later
    strong = max(first, later, key=lambda one: STRENGTH[one.trigger])
    longest = first.since + MAX_DEBOUNCE * max(first.not_before - first.since, timedelta(0))
    return strong.model_copy(
        update={
            "since": first.since if strong.trigger == first.trigger else strong.since,
            "not_before": later.not_before if later.force else min(later.not_before, longest),
            "candidates": later.candidates or first.candidates,
            "parameters": later.parameters or first.parameters,
            "force": first.force or later.force,
        }
    )


def is_moot(waiting: Waiting, detector: Detector) -> bool:
    """Look at the level again: does what was wished for still need doing?"""
    if waiting.force or waiting.trigger == "hand":
        return False
    serving = detector.status.serving
    if waiting.trigger == "drift":
        return bool(serving and serving.promoted and serving.promoted > waiting.since)
    return detector.status.new_rows < detector.spec.retrain.min_new_rows


def blocked(waiting: Waiting, detector: Detector) -> str | None:
    """The first guard that stands in the way, in words; None when training may start."""
    status, retrain, now = detector.status, detector.spec.retrain, detector.now
    if detector.busy:
        return f"the last candidate is not settled ({status.phase.lower()})"
    if not status.batches:
        return "no data has landed yet"
    if waiting.trigger == "drift" and status.new_rows < retrain.min_drift_rows:
        return f"{status.new_rows} of {retrain.min_drift_rows} new rows have landed since the last run"
    if waiting.force:
        return None
    if now < waiting.not_before:
        return f"debounced until {waiting.not_before:%H:%M:%S}"
    if status.starts and now < status.starts[-1] + retrain.cooldown:
        return f"cooling down until {status.starts[-1] + retrain.cooldown:%H:%M:%S}"
    if len(_today(status, now)) >= retrain.budget_per_day:
        return f"the budget of {retrain.budget_per_day} runs a day is spent"
    return None


def _today(status: Status, now: datetime) -> tuple[datetime, ...]:
    return tuple(start for start in status.starts if now - start < DAY)


def _start(waiting: Waiting, detector: Detector) -> Iterable[Message]:
    status, now = detector.status, detector.now
    name = run_name(detector.name, waiting.cause.id)
    yield detector.remember(
        run=Run(name=name, started=now, reason=waiting.reason, cause=waiting.cause),
        starts=(*_today(status, now), now),
        waiting=None,
        new_rows=0,
        message=f"training for {waiting.reason}",
    )
    yield StartTraining(
        run=name,
        detector=detector.name,
        data=tuple(batch.uri for batch in status.batches),
        candidates=waiting.candidates or detector.spec.candidates,
        parameters=waiting.parameters,
        champion=status.serving.uri if status.serving else None,
    )


def run_name(detector: str, cause: str) -> str:
    """The name of the run that answers the event `cause`: the same event never starts two."""
    return f"{detector}-{uuid5(NAMESPACE_URL, cause).hex[:10]}"
