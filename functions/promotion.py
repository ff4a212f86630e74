"""How a canary ends: promoted, or taken back to our own record of the last good revision."""

from __future__ import annotations

from collections.abc import Iterable

from homeostat.eventing.messages import (
    CanaryRolledBack,
    EvalPassed,
    Figures,
    ModelPromoted,
    Promote,
    RollBack,
)

from .detector import Canary, Detector, DriftState, Held, Message, Revision


def promote(canary: Canary, reason: str, detector: Detector, figures: Figures) -> Iterable[Message]:
    serving = detector.status.serving
    promoted = canary.revision.model_copy(update={"promoted": detector.now})
    yield detector.remember(
        canary=None,
        serving=promoted,
        previous=serving,
        drift=DriftState(revision=promoted.name),
        held=_other_questions(detector),
        message=f"{promoted.name} promoted: {reason}",
    )
    yield Promote(detector=detector.name, revision=promoted.name, uri=promoted.uri)
    yield ModelPromoted(
        revision=promoted.name,
        algorithm=promoted.algorithm,
        version=promoted.version,
        uri=promoted.uri,
        replaced=serving.name if serving else None,
        figures=figures,
    )


def roll_back(reason: str, canary: Canary, detector: Detector, figures: Figures) -> Iterable[Message]:
    """Take the canary back; what was asked about it needs no answer any more."""
    yield detector.remember(
        canary=None,
        drift=detector.status.drift.unlatched(),
        held=_other_questions(detector),
        message=f"canary {canary.revision.name} rolled back: {reason}",
    )
    yield from _taken_back(canary.revision, detector.status.serving, reason, detector, figures)


def restore(reason: str, detector: Detector) -> Iterable[Message]:
    """Back to the revision before the one that serves now. A canary that is on trial beside a revision that
    is taken back has lost what it is compared with, and goes too."""
    canary, serving, previous = detector.status.canary, detector.status.serving, detector.status.previous
    if serving is None or previous is None:
        yield detector.remember(message=f"rollback asked for ({reason}), but there is no earlier revision")
        return
    yield detector.remember(
        canary=None,
        serving=previous.model_copy(update={"promoted": detector.now}),
        previous=None,
        drift=DriftState(revision=previous.name),
        held=_other_questions(detector) if canary else detector.status.held,
        message=f"{serving.name} rolled back to {previous.name}: {reason}",
    )
    if canary:
        yield from _taken_back(canary.revision, serving, f"{serving.name} is taken back", detector, {})
    yield from _taken_back(serving, previous, reason, detector, {})


def _taken_back(
    bad: Revision, good: Revision | None, reason: str, detector: Detector, figures: Figures
) -> Iterable[Message]:
    yield RollBack(
        detector=detector.name,
        revision=bad.name,
        restore=good.name if good else None,
        restore_uri=good.uri if good else None,
    )
    yield CanaryRolledBack(
        revision=bad.name, reason=reason, restored=good.name if good else None, figures=figures
    )


def _other_questions(detector: Detector) -> tuple[Held, ...]:
    """What waits for approval and is not about the canary that is over."""
    held = detector.status.held
    return tuple(one for one in held if one.function != "roll-out" or one.type == EvalPassed.type)
