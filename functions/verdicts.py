"""Is the canary at least as good as the stable revision, on the traffic of this step? Pure arithmetic.

It is taken back as soon as a figure is surely worse than is allowed, and it goes on when enough of its
requests look no worse. A figure that could not be measured is inconclusive, never zero: the canary then holds
where it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from homeostat.eventing.messages import Comparison

from .canary import quantile
from .comparisons import Trial, no_worse, of_labels, of_traffic, patience
from .detector import Quality, RevisionFigures
from .spec import CanarySpec

FAST_ERRORS = 5
"""So many errors above the allowed ratio need no minimum of requests where there is nothing to compare with:
a broken canary goes at once."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`final`: an advance all the way, for there is no more time to judge."""

    outcome: Literal["advance", "hold", "rollback"]
    reason: str
    figures: dict[str, float | None]
    comparisons: tuple[Comparison, ...] = ()
    requests: int = 0
    final: bool = False


def words(outcome: str, reason: str) -> str:
    """What of a verdict is told anew when it changes: if only its numbers moved, it is the same verdict.

    >>> words("hold", "30 of 200 requests")
    'hold: # of # requests'
    """
    return f"{outcome}: {re.sub(r'[-0-9.,]+', '#', reason)}"


def judge(
    spec: CanarySpec,
    max_latency_ms: float,
    canary: RevisionFigures,
    stable: RevisionFigures | None,
    *,
    percent: int = 50,
    shadow: bool = False,
    alike: bool = True,
) -> Verdict:
    """Judge one step on the increments of both revisions' counters since it began. `stable` is None where the
    canary takes all traffic and has nothing beside it; for the rest see `Trial`."""
    figures = _figures(canary, stable)
    if stable is None:
        return _alone(spec, canary, figures)
    trial = Trial(spec, max_latency_ms, canary, stable, percent, shadow, alike)
    verdict = _decided(of_traffic(trial), spec, canary.requests, figures)
    if verdict.outcome == "hold" and not stable.requests and _broken(spec, canary):
        return Verdict("rollback", _errors(figures), figures, verdict.comparisons, canary.requests)
    return verdict


def judge_by_labels(
    trial: Trial, traffic: Verdict, canary: Quality | None, stable: Quality | None
) -> Verdict:
    """Traffic may still take the canary back for its errors or its slowness; beyond that, labels decide."""
    if traffic.outcome != "advance":
        return traffic
    known = [0 if one is None else _labelled(one) for one in (canary, stable)]
    if canary is None or stable is None or min(known) < trial.spec.min_labels:
        reason = f"{known[0]} of {trial.spec.min_labels} labelled rows, {known[1]} of stable's"
        return Verdict("hold", reason, traffic.figures, traffic.comparisons, traffic.requests)
    comparisons = (*traffic.comparisons, *of_labels(trial, canary, stable))
    return _decided(comparisons, trial.spec, traffic.requests, traffic.figures)


def _decided(
    comparisons: tuple[Comparison, ...],
    spec: CanarySpec,
    requests: int,
    figures: dict[str, float | None],
) -> Verdict:
    def told(outcome: Literal["advance", "hold", "rollback"], reason: str) -> Verdict:
        return Verdict(outcome, reason, figures, comparisons, requests)

    worse = [one for one in comparisons if one.outcome == "worse"]
    if worse:
        return told("rollback", _against(worse))
    if requests < spec.min_requests:
        return told("hold", f"{requests} of {spec.min_requests} requests")
    missing = list(_missing(comparisons))
    if missing:
        return told("hold", f"could not be measured: {', '.join(missing)}")
    doubtful = [one for one in comparisons if not no_worse(one, patience(spec, requests))]
    if doubtful:
        return told("hold", f"not sure yet: {_against(doubtful)}")
    return told("advance", "no worse than stable")


def _alone(spec: CanarySpec, canary: RevisionFigures, figures: dict[str, float | None]) -> Verdict:
    """Nothing to compare with: it serves, and its errors stay within what is allowed."""

    def told(outcome: Literal["advance", "hold", "rollback"], reason: str) -> Verdict:
        return Verdict(outcome, reason, figures, (), canary.requests)

    if _broken(spec, canary):
        return told("rollback", _errors(figures))
    if canary.requests < spec.min_requests:
        return told("hold", f"{canary.requests} of {spec.min_requests} requests")
    missing = [name for name, value in figures.items() if value is None and name.startswith("canary")]
    if missing:
        return told("hold", f"could not be measured: {', '.join(missing)}")
    return told("advance", "serves without errors")


def _broken(spec: CanarySpec, canary: RevisionFigures) -> bool:
    enough = canary.requests >= spec.min_requests or canary.errors >= FAST_ERRORS
    return enough and canary.errors > spec.max_error_increase * canary.requests


def _errors(figures: dict[str, float | None]) -> str:
    return f"error ratio {figures['canary_error_ratio']:.1%} with nothing to compare it with"


def _against(comparisons: Sequence[Comparison]) -> str:
    return ", ".join(f"{one.name}: {one.canary:.1%} against {one.stable:.1%}" for one in comparisons)


def _missing(comparisons: Iterable[Comparison]) -> Iterable[str]:
    for one in comparisons:
        for side, value in (("canary", one.canary), ("stable", one.stable)):
            if value is None:
                yield f"{side} {one.name}"


def _labelled(one: Quality) -> int:
    return one.caught + one.missed + one.false_alarms + one.passed


def _figures(canary: RevisionFigures, stable: RevisionFigures | None) -> dict[str, float | None]:
    figures: dict[str, float | None] = {"canary_requests": canary.requests}
    for name, side in (("canary", canary), ("stable", stable)):
        figures[f"{name}_error_ratio"] = _ratio(side.errors, side.requests) if side else None
        figures[f"{name}_p50_ms"] = quantile(side.latency, 0.5) if side else None
        figures[f"{name}_p99_ms"] = quantile(side.latency, 0.99) if side else None
        figures[f"{name}_anomaly_rate"] = _ratio(side.anomalies, side.rows) if side else None
    return figures


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
