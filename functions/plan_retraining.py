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
    EvalPassed,
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
    """Take in what the event says, then look at the wish that waits, whatever woke us."""
    status = _settled(event, detector)
    # A wish that was answered in the meantime must not take a new one with it.
    waiting = merge(still_true(status.waiting, detector), _wish(event, detector))
    knowing = detector.model_copy(update={"status": status.model_copy(update={"waiting": waiting})})
    return _look(event if isinstance(event, ApprovalGiven) else CanaryTick(), knowing)


@asks_in_suggest_mode("plan-retraining")
def _look(event: ApprovalGiven | CanaryTick, detector: Detector) -> Iterable[Message]:
    waiting = still_true(detector.status.waiting, detector)
    if waiting is None:
        yield detector.remember(waiting=None)
        return
    reason = blocked(waiting, detector)
    if reason:
        yield detector.remember(waiting=waiting, message=f"training waits: {reason}")
    else:
        yield from _start(waiting, detector)


def _settled(event: object, detector: Detector) -> Status:
    """The status without a run that failed, and without an episode that stands still: a run, or a verdict on
    its candidate, that nobody has heard of for twice its time."""
    status, lost = detector.status, detector.now - 2 * detector.spec.retrain.timeout
    if isinstance(event, TrainingFailed) and status.run and event.run == status.run.name:
        return _without_run(f"training failed at {event.step or 'start'}: {event.error[:200]}", status)
    if status.run and status.run.started < lost:
        return _without_run(f"run {status.run.name} was lost", status)
    asked = detector.spec.mode == "suggest" and any(one.type == EvalPassed.type for one in status.held)
    if status.judging and status.judging.since < lost and not asked:
        return _without_run(f"the candidate of {status.judging.run} was lost", status)
    return status


def _without_run(message: str, status: Status) -> Status:
    """Drift that such a run should have answered may be reported again."""
    drift = status.drift.unlatched()
    return status.model_copy(update={"run": None, "judging": None, "drift": drift, "message": message})


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
    serving = detector.status.serving
    # Drift that arrives after its revision was replaced says nothing about the one that serves now.
    if isinstance(event, DriftDetected) and (serving is None or serving.name == event.revision):
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
    longest = first.since + MAX_DEBOUNCE * (later.not_before - later.since)
    return strong.model_copy(
        update={
            "since": first.since if strong.trigger == first.trigger else strong.since,
            "not_before": max(first.not_before, min(later.not_before, longest)),
            "candidates": later.candidates or first.candidates,
            "parameters": later.parameters or first.parameters,
            "force": first.force or later.force,
        }
    )


def still_true(waiting: Waiting | None, detector: Detector) -> Waiting | None:
    """Look at the level again: what is left of the wish, if it still needs doing?"""
    if waiting is None or waiting.force or waiting.trigger == "hand":
        return waiting
    status = detector.status
    promoted = status.serving.promoted if status.serving else None
    if waiting.trigger == "drift" and not (promoted and promoted > waiting.since):
        return waiting
    if status.new_rows < detector.spec.retrain.min_new_rows:
        return None
    # Drift that a promotion answered may have swallowed a request for the rows that came since.
    if waiting.trigger == "drift":
        return waiting.model_copy(update={"trigger": "data", "reason": f"{status.new_rows} new rows"})
    return waiting


def blocked(waiting: Waiting, detector: Detector) -> str | None:
    """The first guard that stands in the way, in words; None when training may start."""
    status, retrain, now = detector.status, detector.spec.retrain, detector.now
    if detector.busy:
        return f"the last candidate is not settled ({status.phase.lower()})"
    if not status.batches:
        return "no data has landed yet"
    if waiting.force:
        return None
    # So many would do for a request of their own; drift beside them must not make them wait.
    needed = min(retrain.min_drift_rows, retrain.min_new_rows)
    if waiting.trigger == "drift" and status.new_rows < needed:
        return f"{status.new_rows} of {needed} new rows have landed since the last run"
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
