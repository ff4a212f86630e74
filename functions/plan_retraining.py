"""The only door to training and tuning. Every wish for a new model is weighed here against the guards.

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
    StartTuning,
    TrainingFailed,
    TrainingRequested,
    TuningCompleted,
    TuningFailed,
    TuningRequested,
)

from .approval import asks_in_suggest_mode
from .detector import Detector, Message, Run, Status, Tuning, Waiting
from .settling import settled
from .wishes import merge, still_true, wish
from .work import WorkFacts

DAY = timedelta(days=1)
LONGEST_EXPERIMENT = 40
"""Characters of an Experiment's name: Katib puts more after it, and all of it into a label."""


def decide(
    event: TrainingRequested
    | TuningRequested
    | DriftDetected
    | TrainingFailed
    | TuningCompleted
    | TuningFailed
    | EvalFailed
    | ModelPromoted
    | CanaryRolledBack
    | ApprovalGiven
    | CanaryTick,
    detector: Detector,
    work: WorkFacts | None = None,
) -> Iterable[Message]:
    """Take in what the event says, then look at the wish that waits, whatever woke us."""
    end = settled(event, detector, work)
    # A wish that was answered in the meantime must not take a new one with it.
    waiting = merge(still_true(end.status.waiting, detector), wish(event, detector) or end.instead)
    knowing = detector.model_copy(update={"status": end.status.model_copy(update={"waiting": waiting})})
    yield from end.told
    yield from _look(event if isinstance(event, ApprovalGiven) else CanaryTick(), knowing)


@asks_in_suggest_mode("plan-retraining")
def _look(event: ApprovalGiven | CanaryTick, detector: Detector) -> Iterable[Message]:
    waiting = still_true(detector.status.waiting, detector)
    if waiting is None:
        yield detector.remember(waiting=None)
        return
    reason = blocked(waiting, detector)
    if reason:
        work = "tuning" if waiting.tune else "training"
        yield detector.remember(waiting=waiting, message=f"{work} waits: {reason}")
    elif waiting.tune:
        yield from _tune(waiting, detector)
    else:
        yield from _train(waiting, detector)


def blocked(waiting: Waiting, detector: Detector) -> str | None:
    """The first guard that stands in the way, in words; None when training may start."""
    status, retrain, now = detector.status, detector.spec.retrain, detector.now
    if detector.busy:
        return f"the last candidate is not settled ({status.phase.lower()})"
    if not status.batches:
        return "no data has landed yet"
    if waiting.force:
        return None
    # So many would do for a request of their own; drift or an alert beside them must not make them wait.
    needed = min(retrain.min_drift_rows, retrain.min_new_rows)
    if waiting.trigger in ("drift", "alert") and status.new_rows < needed:
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


def _train(waiting: Waiting, detector: Detector) -> Iterable[Message]:
    status, now = detector.status, detector.now
    name = run_name(detector.name, waiting.cause.id)
    known = status.serving.parameters if status.serving else {}
    parameters = {**known, **waiting.parameters}
    yield detector.remember(
        run=Run(
            name=name,
            started=now,
            reason=waiting.reason,
            trigger=waiting.trigger,
            parameters=parameters,
            cause=waiting.cause,
        ),
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
        parameters=parameters,
        champion=status.serving.uri if status.serving else None,
    )


def _tune(waiting: Waiting, detector: Detector) -> Iterable[Message]:
    """Rows stay new: a search fits nothing that serves."""
    status, now = detector.status, detector.now
    name, algorithm = experiment_name(detector.name, waiting.cause.id), _tuned(waiting, detector)
    yield detector.remember(
        tuning=Tuning(
            name=name,
            algorithm=algorithm,
            started=now,
            reason=waiting.reason,
            trigger=waiting.trigger,
            cause=waiting.cause,
        ),
        starts=(*_today(status, now), now),
        waiting=None,
        message=f"tuning {algorithm} for {waiting.reason}",
    )
    yield StartTuning(
        experiment=name,
        detector=detector.name,
        algorithm=algorithm,
        data=tuple(batch.uri for batch in status.batches),
        champion=status.serving.uri if status.serving else None,
    )


def _tuned(waiting: Waiting, detector: Detector) -> str:
    """One candidate is tuned: the one that was asked for, else the one that serves, else the first."""
    if waiting.candidates:
        return waiting.candidates[0]
    serving, candidates = detector.status.serving, detector.spec.candidates
    return serving.algorithm if serving and serving.algorithm in candidates else candidates[0]


def run_name(detector: str, cause: str) -> str:
    """The name of the run that answers the event `cause`: the same event never starts two."""
    return f"{detector}-{uuid5(NAMESPACE_URL, cause).hex[:10]}"


def experiment_name(detector: str, cause: str) -> str:
    """The name of the search that answers the event `cause`, short enough for Katib."""
    end = f"-tune-{uuid5(NAMESPACE_URL, f'{detector}/{cause}').hex[:10]}"
    return detector[: LONGEST_EXPERIMENT - len(end)].rstrip("-") + end
