"""What of an episode is over when an event arrives: work that failed, that found what it looked for, or that
is lost. What nobody else has told is told here.
"""

from __future__ import annotations

from dataclasses import dataclass

from homeostat.eventing.messages import (
    CanaryTick,
    EvalPassed,
    TrainingFailed,
    TuningCompleted,
    TuningFailed,
)

from .detector import Cause, Detector, Run, Status, Tuning, Waiting
from .wishes import instead_of_tuning
from .work import WorkFacts, lost, missed


@dataclass(frozen=True, slots=True)
class Settled:
    """The status without what is over; the event that says so, where there was none, and the wish for what is
    done instead."""

    status: Status
    told: tuple[TrainingFailed | TuningFailed, ...] = ()
    instead: Waiting | None = None


def settled(event: object, detector: Detector, work: WorkFacts | None) -> Settled:
    """Of work that is not in flight any more, as of our own words when they come back, nothing is taken."""
    status = detector.status
    match event:
        case TrainingFailed() if status.run and event.run == status.run.name:
            said = f"training failed at {event.step or 'start'}: {event.error[:200]}"
            return Settled(_without(said, status))
        case TuningFailed() if status.tuning and event.experiment == status.tuning.name:
            return _without_tuning(event, status.tuning, detector.cause, detector)
        case TuningCompleted() if status.tuning and event.experiment == status.tuning.name:
            return Settled(_answered(status))
        case CanaryTick():
            return _watched(detector, work)
    return Settled(status)


def _watched(detector: Detector, work: WorkFacts | None) -> Settled:
    """Time has passed: is what is in flight still there?"""
    status, now = detector.status, detector.now
    if status.run:
        return _run(status.run, detector, work)
    if status.tuning:
        return _tuning(status.tuning, detector, work)
    asked = detector.spec.mode == "suggest" and any(one.type == EvalPassed.type for one in status.held)
    if status.judging and status.judging.since < now - 2 * detector.spec.retrain.timeout and not asked:
        return Settled(_without(f"the candidate of {status.judging.run} was lost", status))
    return Settled(status)


def _run(run: Run, detector: Detector, work: WorkFacts | None) -> Settled:
    status, now = detector.status, detector.now
    why = lost(run, work, now, detector.spec.retrain.timeout, "spec.retrain.timeout")
    if why is None:
        seen = run.model_copy(update={"missed": missed(run, work, now)})
        return Settled(status.model_copy(update={"run": seen}))
    told = TrainingFailed(run=run.name, error=why)
    return Settled(_without(f"run {run.name} was lost: {why}", status), (told,))


def _tuning(tuning: Tuning, detector: Detector, work: WorkFacts | None) -> Settled:
    status, now = detector.status, detector.now
    why = lost(tuning, work, now, detector.spec.tuning.timeout, "spec.tuning.timeout")
    if why is None:
        seen = tuning.model_copy(update={"missed": missed(tuning, work, now)})
        return Settled(status.model_copy(update={"tuning": seen}))
    told = TuningFailed(experiment=tuning.name, error=why)
    end = _without_tuning(told, tuning, tuning.cause, detector)
    return Settled(end.status, (told,), end.instead)


def _without_tuning(event: TuningFailed, tuning: Tuning, cause: Cause, detector: Detector) -> Settled:
    status = _without(f"{tuning.name} failed: {event.error[:200]}", detector.status)
    drift = tuning.trigger == "drift"
    return Settled(status, instead=instead_of_tuning(event.error, cause, detector) if drift else None)


def _answered(status: Status) -> Status:
    """Without the search; a wish for another one that came meanwhile has its answer."""
    waiting = status.waiting.model_copy(update={"tune": False}) if status.waiting else None
    return status.model_copy(update={"tuning": None, "waiting": waiting})


def _without(message: str, status: Status) -> Status:
    """Without the work that is over. Drift that it should have answered may be reported again."""
    over = {"run": None, "tuning": None, "judging": None, "drift": status.drift.unlatched()}
    return status.model_copy(update={**over, "message": message})
