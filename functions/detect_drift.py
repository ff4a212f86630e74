"""Decide whether verdicts of the drift test add up to drift.

The host runs the test (`models.drift`) and hands its verdict in; one verdict is noise, several in a row are
drift. What was reported stays latched until the verdicts stop or another revision serves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from homeostat.eventing.messages import DriftDetected, InferenceRequest

from .detector import Detector, DriftState, Message


@dataclass(frozen=True, slots=True)
class DriftFacts:
    """One verdict: distance and its calibrated threshold, p-value, and the channels that moved most."""

    test: str
    statistic: float
    threshold: float
    p_value: float | None
    drifted: bool
    window: int
    revision: str
    channels: tuple[str, ...]


def decide(event: InferenceRequest, detector: Detector, drift: DriftFacts | None) -> Iterable[Message]:
    if drift is None or not _speaks_of_serving(drift, detector):
        return
    before = detector.status.drift
    if before.revision != drift.revision:
        before = DriftState(revision=drift.revision)
    consecutive = before.consecutive + 1 if drift.drifted else 0
    report = consecutive >= detector.spec.drift.consecutive and not before.latched
    yield detector.remember(
        drift=DriftState(
            revision=drift.revision,
            consecutive=consecutive,
            latched=drift.drifted and (before.latched or report),
            statistic=drift.statistic,
            threshold=drift.threshold,
            tested=detector.now,
        )
    )
    if report:
        yield DriftDetected(
            test=drift.test,
            statistic=drift.statistic,
            threshold=drift.threshold,
            p_value=drift.p_value,
            consecutive=consecutive,
            window=drift.window,
            revision=drift.revision,
            channels=drift.channels,
        )


def _speaks_of_serving(drift: DriftFacts, detector: Detector) -> bool:
    """A verdict may arrive after its revision was replaced; it then says nothing about the new one."""
    serving = detector.status.serving
    return serving is not None and serving.name == drift.revision
