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
    CanaryJudged,
    CanaryStarted,
    CanaryTick,
    EvalPassed,
    RollbackRequested,
    RolloutRequested,
    ShiftTraffic,
    StartCanary,
)

from .approval import asks_in_suggest_mode
from .canary import MAX_RESTARTS, CanaryFacts
from .detector import Canary, Detector, Message, Remember, Revision
from .promotion import promote, roll_back
from .steering import steered, taken_back
from .trials import at_deadline, seen, step_verdict
from .verdicts import Verdict, words

READY_WITHIN = timedelta(minutes=5)
"""A revision that does not load in this time never will."""


@asks_in_suggest_mode("roll-out")
def decide(
    event: EvalPassed | CanaryTick | RollbackRequested | RolloutRequested | ApprovalGiven,
    detector: Detector,
    facts: CanaryFacts | None,
) -> Iterable[Message]:
    match event:
        case EvalPassed():
            return _start(event, detector)
        case RollbackRequested():
            return taken_back(event, detector)
        case RolloutRequested():
            return steered(event, detector, facts)
        case CanaryTick() if detector.status.canary:
            return _look(detector.status.canary, facts, detector)
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
    shadow = serving is not None and detector.spec.canary.shadow > 0
    percent = 0 if shadow else _next_step(0, detector) or 100
    yield detector.remember(
        judging=None,
        canary=Canary(
            revision=revision,
            percent=percent,
            shadow=shadow,
            started=detector.now,
            step_started=detector.now,
            cause=detector.cause,
        ),
        message=f"canary {revision.name} " + ("in the shadow" if shadow else f"at {percent} %"),
    )
    yield StartCanary(detector=detector.name, revision=revision.name, uri=revision.uri, percent=percent)
    yield CanaryStarted(revision=revision.name, percent=percent, stable=serving.name if serving else None)


def _next_step(percent: int, detector: Detector) -> int | None:
    """The next share of traffic; None where only a promotion is left."""
    steps = detector.spec.canary.steps if detector.status.serving else ()
    return next((step for step in steps if step > percent), None)


def _look(canary: Canary, facts: CanaryFacts | None, detector: Detector) -> Iterable[Message]:
    if facts and facts.refused:
        return roll_back(facts.refused, canary, detector, {})
    if facts and facts.restarts >= MAX_RESTARTS:
        return roll_back(f"its server ended {facts.restarts} times", canary, detector, {})
    if facts is None or not facts.ready:
        return _wait_until_ready(canary, facts, detector)
    if canary.shadow and not facts.copies and not canary.paused:
        verdict = Verdict("advance", "a shadow gets no copies of requests in this home", {})
        return [*_advance(canary, verdict, detector), _told(verdict, canary)]
    sides = seen(canary, facts)
    if sides and canary.base_canary is None:
        return (_begin_step(canary, detector, base_canary=sides[0], base_stable=sides[1]),)
    verdict = at_deadline(step_verdict(canary, sides, detector), canary, detector)
    told = words(verdict.outcome, verdict.reason)
    said = [] if told == canary.told else [_told(verdict, canary)]
    return [*_act(verdict, canary.model_copy(update={"told": told}), detector, bool(said)), *said]


def _told(verdict: Verdict, canary: Canary) -> CanaryJudged:
    return CanaryJudged(
        revision=canary.revision.name,
        percent=canary.percent,
        outcome=verdict.outcome,
        reason=verdict.reason,
        requests=verdict.requests,
        comparisons=verdict.comparisons,
    )


def _act(verdict: Verdict, canary: Canary, detector: Detector, changed: bool) -> Iterable[Message]:
    """What follows from a verdict: a bad canary goes at once, a good one when its time has come."""
    due = detector.now - canary.step_started >= detector.spec.canary.every and not canary.paused
    if verdict.outcome == "rollback":
        return roll_back(verdict.reason, canary, detector, verdict.figures)
    if verdict.outcome == "advance" and due:
        return _advance(canary, verdict, detector)
    return (detector.remember(canary=canary),) if changed else ()


def _wait_until_ready(canary: Canary, facts: CanaryFacts | None, detector: Detector) -> Iterable[Message]:
    """Its time to load begins anew when it stops serving: what died for good must not stay on trial."""
    if canary.base_canary is not None:
        return (_begin_step(canary, detector, base_stable=None, base_canary=None),) if facts else ()
    if detector.now - canary.step_started > READY_WITHIN:
        return roll_back("it did not become ready", canary, detector, {})
    return ()


def _begin_step(canary: Canary, detector: Detector, **step: object) -> Remember:
    return detector.remember(canary=canary.model_copy(update={**step, "step_started": detector.now}))


def _advance(canary: Canary, verdict: Verdict, detector: Detector) -> Iterable[Message]:
    """One step up; from the shadow to the first percent."""
    higher = _next_step(canary.percent, detector) or (100 if canary.shadow else None)
    if higher is None or verdict.final:
        yield from promote(canary, verdict.reason, detector, verdict.figures)
        return
    step = {
        "percent": higher,
        "shadow": False,
        "told": "",
        "step_started": detector.now,
        "base_stable": None,
        "base_canary": None,
    }
    yield detector.remember(
        canary=canary.model_copy(update=step), message=f"canary {canary.revision.name} at {higher} %"
    )
    yield ShiftTraffic(detector=detector.name, revision=canary.revision.name, percent=higher)
    yield CanaryAdvanced(revision=canary.revision.name, percent=higher, figures=verdict.figures)
