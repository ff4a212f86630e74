"""Decide whether verdicts of the drift tests add up to drift.

The host runs the tests (`models.drift_monitor`) and hands their verdicts in; one verdict is noise, several
in a row are drift. Rows, scores and labelled errors are counted apart, and each is reported once: what was
reported stays latched until the verdicts stop or another revision serves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from homeostat.eventing.messages import (
    DriftDetected,
    InferenceRequest,
    InferenceResponse,
    LabelReceived,
    Span,
)
from homeostat.models.choices import DriftStream

from .detector import Detector, DriftState, Message, Watched


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftVerdict:
    """Distance and its calibrated threshold, what `correction` left of the p-value, the channels that moved
    most, and which rows were laid against which."""

    on: DriftStream = "features"
    test: str
    statistic: float
    threshold: float
    p_value: float | None
    drifted: bool
    channels: tuple[str, ...] = ()
    correction: str = ""
    reference: Span | None = None
    tested: Span | None = None


@dataclass(frozen=True, slots=True)
class DriftFacts:
    """The verdicts on `revision` that an event led to, in order."""

    revision: str
    window: int
    verdicts: tuple[DriftVerdict, ...]


def decide(
    event: InferenceRequest | InferenceResponse | LabelReceived, detector: Detector, drift: DriftFacts | None
) -> Iterable[Message]:
    if drift is None or not drift.verdicts or not _speaks_of_serving(drift, detector):
        return
    state, reports = detector.status.drift, []
    if state.revision != drift.revision:
        state = DriftState(revision=drift.revision)
    for verdict in drift.verdicts:
        before = state.of(verdict.on)
        consecutive = before.consecutive + 1 if verdict.drifted else 0
        report = consecutive >= detector.spec.drift.consecutive and not before.latched
        if report:
            reports.append(_report(verdict, drift, consecutive))
        after = Watched(
            consecutive=consecutive,
            latched=verdict.drifted and (before.latched or report),
            statistic=verdict.statistic,
            threshold=verdict.threshold,
            tested=detector.now,
        )
        state = state.having(verdict.on, after)
    yield detector.remember(drift=state)
    yield from reports


def _report(verdict: DriftVerdict, drift: DriftFacts, consecutive: int) -> DriftDetected:
    return DriftDetected(
        test=verdict.test,
        on=verdict.on,
        statistic=verdict.statistic,
        threshold=verdict.threshold,
        p_value=verdict.p_value,
        consecutive=consecutive,
        window=drift.window,
        revision=drift.revision,
        channels=verdict.channels,
        correction=verdict.correction,
        reference=verdict.reference,
        tested=verdict.tested,
    )


def _speaks_of_serving(drift: DriftFacts, detector: Detector) -> bool:
    """Verdicts may arrive after their revision was replaced; they then say nothing about the new one."""
    serving = detector.status.serving
    return serving is not None and serving.name == drift.revision
