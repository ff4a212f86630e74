"""What labels say of the revisions that scored the rows, and what is to be said of them without any.

The host joins labels with the scores that were answered, and reads the counters of the revision that serves
(`QualityFacts`). A figure that has surely fallen, or left its band, fires an alert once; the Detector's alert
map says what is done about it, as of any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from homeostat.eventing.messages import (
    CanaryTick,
    Event,
    InferenceResponse,
    LabelReceived,
    QualityMeasured,
)

from . import bands, quality
from .detector import Bands, Detector, Message, Quality, RevisionFigures
from .raising import Verdict, settled

FELL = "HomeostatQualityFell"
SHIFTED = {"alarm_rate": "HomeostatAlarmRateShifted", "scores": "HomeostatScoresShifted"}


@dataclass(frozen=True, slots=True)
class QualityFacts:
    """By revision, what its labelled rows say; how many labels were given up so far because no row fitted
    them (None: not looked at); and the counters of the revision that serves (None: not to be had)."""

    quality: Mapping[str, Quality] = field(default_factory=dict)
    unmatched: int | None = None
    counters: RevisionFigures | None = None


def decide(
    event: LabelReceived | InferenceResponse | CanaryTick,
    detector: Detector,
    facts: QualityFacts | None = None,
) -> Iterable[Message]:
    if facts is None:
        return
    known = _quality(detector, facts)
    usual = _bands(detector, facts)
    raised, news = settled(
        detector, watched(detector), [*_fallen(detector, known), *_shifted(detector, usual)]
    )
    changes = {"quality": known, "bands": usual, "raised": raised} | _lost(detector, facts)
    if any(getattr(detector.status, name) != one for name, one in changes.items()):
        yield detector.remember(**changes)
    yield from _measured(detector, known)
    yield from news


def watched(detector: Detector) -> tuple[str, ...]:
    """The revisions of which something is said: what serves, what is on trial, and what served before."""
    status = detector.status
    on_trial = status.canary.revision if status.canary else None
    found = (one.name for one in (status.serving, on_trial, status.previous) if one)
    return tuple(dict.fromkeys(found))


# --- with labels -------------------------------------------------------------------------------------------
def _quality(detector: Detector, facts: QualityFacts) -> dict[str, Quality]:
    """What is known of each revision from now on; figures that changed wait until it is time to tell."""
    known = {}
    for name in watched(detector):
        before, now = detector.status.quality.get(name), facts.quality.get(name)
        if now is None or (before and (_same(before, now) or not _due(before, detector))):
            now = before
        elif now.measured != detector.now:
            now = now.model_copy(update={"measured": detector.now})
        if now:
            known[name] = now
    return known


def _same(one: Quality, other: Quality) -> bool:
    return one == other.model_copy(update={"measured": one.measured})


def _due(before: Quality, detector: Detector) -> bool:
    return detector.now - before.measured >= detector.spec.quality.every


def _measured(detector: Detector, known: Mapping[str, Quality]) -> Iterator[Event]:
    for name, now in known.items():
        if now != detector.status.quality.get(name):
            yield QualityMeasured(
                revision=name,
                labelled=quality.labelled(now),
                anomalous=now.caught + now.missed,
                since=_rfc3339(now.since),
                until=_rfc3339(now.until),
                figures=quality.told(now),
            )


def _fallen(detector: Detector, known: Mapping[str, Quality]) -> Iterator[Verdict]:
    for name, one in known.items():
        measured = quality.estimates(one)
        for figure, fires in quality.fallen(one, detector.spec.quality).items():
            what = measured[figure]
            said = f"{what.value:.3g}, surely {what.low:.3g} to {what.high:.3g}" if what else "not known"
            summary = f"{figure} of {name} is {said}, of {quality.labelled(one)} labelled rows"
            yield Verdict(FELL, name, figure, fires, summary)


# --- without -----------------------------------------------------------------------------------------------
def _bands(detector: Detector, facts: QualityFacts) -> Bands:
    serving, before = detector.status.serving, detector.status.bands
    if serving is None or not detector.spec.quality.bands:
        return Bands()
    if facts.counters is None:
        return before
    raised = {one.labels["figure"] for one in detector.status.raised if one.alertname in SHIFTED.values()}
    return bands.watched(before, serving.name, facts.counters, detector.spec.quality.warm_up, raised)


def _shifted(detector: Detector, usual: Bands) -> Iterator[Verdict]:
    """A figure whose windows have contradicted what is raised of it for long enough."""
    serving = detector.status.serving
    if serving is None:
        return
    standing = {one.alertname for one in detector.status.raised if one.labels["revision"] == serving.name}
    news = usual != detector.status.bands  # what was said of a window is not said again
    for figure, alertname in SHIFTED.items():
        if figure not in usual.limits:  # no band: not watched, or in its warm-up
            yield Verdict(alertname, serving.name, figure, fires=False)
        elif news and usual.turned.get(figure, 0) >= bands.TURNS:
            limit = f"at most {usual.limits[figure]:.3g} is usual"
            summary = f"{figure} of {serving.name} lies {_off(figure, usual):.3g} from its warm-up, {limit}"
            yield Verdict(alertname, serving.name, figure, alertname not in standing, summary)


def _off(figure: str, usual: Bands) -> float:
    return bands.distance(figure, bands.total(usual.recent), usual.usual) if usual.usual else 0.0


# --- beside ------------------------------------------------------------------------------------------------
def _lost(detector: Detector, facts: QualityFacts) -> dict[str, object]:
    before, now = detector.status.unmatched, facts.unmatched
    if now is None or now == before:
        return {}
    if now < before:  # the host began anew
        return {"unmatched": now}
    return {"unmatched": now, "message": f"{now - before} labels fit no row that was answered"}


def _rfc3339(time: datetime | None) -> str:
    return time.isoformat().replace("+00:00", "Z") if time else ""
