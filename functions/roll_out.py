"""The only door to serving: start a canary, give it more traffic step by step, promote it or take it back.

The record of the last good revision is ours (`status.serving`, `status.previous`), never guessed from what
a serving platform remembers.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from homeostat.eventing.messages import (
    ApprovalGiven,
    CanaryAdvanced,
    CanaryRolledBack,
    CanaryStarted,
    CanaryTick,
    EvalPassed,
    ModelPromoted,
    Promote,
    RollBack,
    RollbackRequested,
    RolloutRequested,
    ShiftTraffic,
    StartCanary,
)

from .approval import asks_in_suggest_mode
from .canary import MAX_RESTARTS, CanaryFacts, Verdict, increment, judge
from .detector import Canary, Detector, DriftState, Message, Remember, Revision

READY_WITHIN = timedelta(minutes=5)
"""A revision that does not load in this time never will."""


@asks_in_suggest_mode("roll-out")
def decide(
    event: EvalPassed | CanaryTick | RollbackRequested | RolloutRequested | ApprovalGiven,
    detector: Detector,
    facts: CanaryFacts | None,
) -> Iterable[Message]:
    canary = detector.status.canary
    match event:
        case EvalPassed():
            return _start(event, detector)
        case RollbackRequested():
            return _roll_back(event.reason, canary, detector) if canary else _restore(event.reason, detector)
        case CanaryTick() if canary:
            return _look(canary, facts, detector)
        case _:
            return ()


def _start(event: EvalPassed, detector: Detector) -> Iterable[Message]:
    judging = detector.status.judging
    if judging is None or judging.run != event.run:
        # A verdict that was given up or is told twice: only a candidate that is awaited gets traffic.
        yield detector.remember(message=f"{event.run} passed its gates, but nobody waits for it")
        return
    serving = detector.status.serving
    revision = Revision(
        name=event.run,
        uri=event.uri,
        algorithm=event.algorithm,
        version=event.version,
        metrics={gate.name: gate.measured for gate in event.gates},
        trigger=judging.trigger,
        parameters=judging.parameters,
    )
    # With nothing to compare to, and nothing to lose, the first revision takes all traffic on trial.
    percent = detector.spec.canary.steps[0] if serving and detector.spec.canary.steps else 100
    yield detector.remember(
        judging=None,
        canary=Canary(
            revision=revision,
            percent=percent,
            started=detector.now,
            step_started=detector.now,
            cause=detector.cause,
        ),
        message=f"canary {revision.name} at {percent} %",
    )
    yield StartCanary(detector=detector.name, revision=revision.name, uri=revision.uri, percent=percent)
    yield CanaryStarted(revision=revision.name, percent=percent, stable=serving.name if serving else None)


def _look(canary: Canary, facts: CanaryFacts | None, detector: Detector) -> Iterable[Message]:
    if facts and facts.refused:
        return _roll_back(facts.refused, canary, detector)
    if facts and facts.restarts >= MAX_RESTARTS:
        return _roll_back(f"its server ended {facts.restarts} times", canary, detector)
    if facts is None or not facts.ready:
        return _wait_until_ready(canary, facts, detector)
    # Beside a canary that takes all traffic, a stable revision has none to compare with.
    stable = facts.stable if canary.percent < 100 else None
    if facts.canary is None or (stable is None and canary.percent < 100):
        return ()
    if canary.base_canary is None:
        return (_begin_step(canary, detector, base_stable=stable, base_canary=facts.canary),)
    verdict = judge(
        detector.spec.canary,
        detector.spec.gate.max_latency_ms,
        increment(facts.canary, canary.base_canary),
        increment(stable, canary.base_stable) if stable and canary.base_stable else None,
    )
    if verdict.outcome == "rollback":
        return _roll_back(verdict.reason, canary, detector, verdict)
    if verdict.outcome == "hold" or detector.now - canary.step_started < detector.spec.canary.every:
        return ()
    return _advance(canary, verdict, detector)


def _wait_until_ready(canary: Canary, facts: CanaryFacts | None, detector: Detector) -> Iterable[Message]:
    """Its time to load begins anew when it stops serving: what died for good must not stay on trial."""
    if canary.base_canary is not None:
        return (_begin_step(canary, detector, base_stable=None, base_canary=None),) if facts else ()
    if detector.now - canary.step_started > READY_WITHIN:
        return _roll_back("it did not become ready", canary, detector)
    return ()


def _begin_step(canary: Canary, detector: Detector, **step: object) -> Remember:
    return detector.remember(canary=canary.model_copy(update={**step, "step_started": detector.now}))


def _advance(canary: Canary, verdict: Verdict, detector: Detector) -> Iterable[Message]:
    higher = next((step for step in detector.spec.canary.steps if step > canary.percent), None)
    if higher is None or detector.status.serving is None:
        yield from _promote(canary, verdict, detector)
        return
    step = {"percent": higher, "step_started": detector.now, "base_stable": None, "base_canary": None}
    yield detector.remember(
        canary=canary.model_copy(update=step), message=f"canary {canary.revision.name} at {higher} %"
    )
    yield ShiftTraffic(detector=detector.name, revision=canary.revision.name, percent=higher)
    yield CanaryAdvanced(revision=canary.revision.name, percent=higher, figures=verdict.figures)


def _promote(canary: Canary, verdict: Verdict, detector: Detector) -> Iterable[Message]:
    serving = detector.status.serving
    promoted = canary.revision.model_copy(update={"promoted": detector.now})
    yield detector.remember(
        canary=None,
        serving=promoted,
        previous=serving,
        drift=DriftState(revision=promoted.name),
        message=f"{promoted.name} promoted: {verdict.reason}",
    )
    yield Promote(detector=detector.name, revision=promoted.name, uri=promoted.uri)
    yield ModelPromoted(
        revision=promoted.name,
        algorithm=promoted.algorithm,
        version=promoted.version,
        uri=promoted.uri,
        replaced=serving.name if serving else None,
        figures=verdict.figures,
    )


def _roll_back(
    reason: str, canary: Canary, detector: Detector, verdict: Verdict | None = None
) -> Iterable[Message]:
    stable = detector.status.serving
    yield detector.remember(
        canary=None,
        drift=detector.status.drift.unlatched(),
        message=f"canary {canary.revision.name} rolled back: {reason}",
    )
    yield from _taken_back(canary.revision, stable, reason, detector, verdict)


def _restore(reason: str, detector: Detector) -> Iterable[Message]:
    """Without a canary a rollback means: the revision before the one that serves now."""
    serving, previous = detector.status.serving, detector.status.previous
    if serving is None or previous is None:
        yield detector.remember(message=f"rollback asked for ({reason}), but there is no earlier revision")
        return
    yield detector.remember(
        serving=previous.model_copy(update={"promoted": detector.now}),
        previous=None,
        drift=DriftState(revision=previous.name),
        message=f"{serving.name} rolled back to {previous.name}: {reason}",
    )
    yield from _taken_back(serving, previous, reason, detector)


def _taken_back(
    bad: Revision, good: Revision | None, reason: str, detector: Detector, verdict: Verdict | None = None
) -> Iterable[Message]:
    yield RollBack(
        detector=detector.name,
        revision=bad.name,
        restore=good.name if good else None,
        restore_uri=good.uri if good else None,
    )
    yield CanaryRolledBack(
        revision=bad.name,
        reason=reason,
        restored=good.name if good else None,
        figures=verdict.figures if verdict else {},
    )
