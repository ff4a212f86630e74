"""What a step of a canary has shown: which counters are its evidence, what they say, and what becomes of a
step that has not ended at its deadline."""

from __future__ import annotations

from dataclasses import replace

from homeostat.eventing.durations import print_duration

from .canary import CanaryFacts, increment
from .comparisons import Trial, no_worse
from .detector import Canary, Detector, RevisionFigures
from .verdicts import Verdict, judge, judge_by_labels

Sides = tuple[RevisionFigures, RevisionFigures | None]
"""The canary's counters, and the stable revision's where there is one to compare with."""


def seen(canary: Canary, facts: CanaryFacts) -> Sides | None:
    """Both sides' counters as they stand; None while those that the verdict needs cannot be had.

    Beside a canary that takes all traffic, a stable revision has none to compare with. A shadow's requests
    are the copies that it answered, and what their answers said is counted where they were made."""
    if canary.shadow:
        if facts.shadow is None or facts.canary is None or facts.stable is None:
            return None
        copies = {"requests": facts.shadow.requests, "errors": facts.shadow.errors, "latency": ()}
        return facts.canary.model_copy(update=copies), facts.stable
    if facts.canary is None or (facts.stable is None and canary.percent < 100):
        return None
    return facts.canary, facts.stable if canary.percent < 100 else None


def step_verdict(canary: Canary, sides: Sides | None, detector: Detector) -> Verdict:
    """The verdict on what was counted since the step began."""
    if sides is None or canary.base_canary is None:
        return Verdict("hold", "its figures cannot be had", {})
    spec, limit = detector.spec.canary, detector.spec.gate.max_latency_ms
    gained = increment(sides[0], canary.base_canary)
    beside = increment(sides[1], canary.base_stable) if sides[1] and canary.base_stable else None
    serving = detector.status.serving
    alike = serving is not None and serving.algorithm == canary.revision.algorithm
    verdict = judge(spec, limit, gained, beside, percent=canary.percent, shadow=canary.shadow, alike=alike)
    if canary.shadow:
        return _long_enough(verdict, spec.shadow)
    if spec.judge_by == "traffic" or beside is None or serving is None:
        return verdict
    quality = detector.status.quality
    labels = quality.get(canary.revision.name), quality.get(serving.name)
    return judge_by_labels(Trial(spec, limit, gained, beside, canary.percent), verdict, *labels)


def at_deadline(verdict: Verdict, canary: Canary, detector: Detector) -> Verdict:
    """A step that came to no verdict in its time is settled as the Detector's owner chose. A paused one waits
    for people, and a first revision has nothing to be taken back to."""
    spec, serving = detector.spec.canary, detector.status.serving
    late = detector.now - canary.step_started > spec.deadline
    if verdict.outcome != "hold" or not late or canary.paused or not serving or spec.at_deadline == "hold":
        return verdict
    told = f"{verdict.reason} after {print_duration(spec.deadline)}"
    if spec.at_deadline == "promote" and _enough_to_promote(verdict, canary, detector):
        return replace(verdict, outcome="advance", reason=f"{told}, no worse as far as seen", final=True)
    return replace(verdict, outcome="rollback", reason=told)


def _long_enough(verdict: Verdict, least: int) -> Verdict:
    if verdict.outcome == "advance" and verdict.requests < least:
        return replace(verdict, outcome="hold", reason=f"{verdict.requests} of {least} copies")
    return verdict


def _enough_to_promote(verdict: Verdict, canary: Canary, detector: Detector) -> bool:
    """Enough was seen, in this step, in one before it or in the shadow, and nothing now looks worse than is
    allowed."""
    spec = detector.spec.canary
    earlier = not canary.shadow and (spec.shadow > 0 or canary.percent > min(spec.steps, default=100))
    measured = [one for one in verdict.comparisons if one.canary is not None and one.stable is not None]
    within = all(no_worse(one, 1.0) for one in measured)
    return within and (earlier or (verdict.requests >= spec.min_requests and bool(measured)))
