"""Is the canary at least as good as the stable revision, on the traffic of this step? Pure arithmetic.

A figure that could not be measured is inconclusive, never zero: the canary then holds where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from .detector import RevisionFigures
from .spec import CanarySpec

LATENCY_BUCKETS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Upper bounds in milliseconds. The router counts by them; one more bucket holds everything slower."""

SCORE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Upper bounds of score / threshold, by which predictors count rows; one more bucket holds all above."""

FAST_ERRORS = 5
"""So many errors above the allowed ratio need no minimum of requests: a broken canary goes at once."""

MAX_RESTARTS = 3
"""A server that ended this often by itself will not become sound: its canary is taken back."""


@dataclass(frozen=True, slots=True)
class ShadowFigures:
    """What a shadow was compared on, since its process started: copied `requests` of which so many ended in
    `errors`, and `rows` that both revisions judged, of which `agreed` got the same flag from both."""

    requests: int
    errors: int
    rows: int
    agreed: int


@dataclass(frozen=True, slots=True)
class CanaryFacts:
    """What the host measured: is the canary ready, both revisions' counters (None: not to be had), how often
    the canary's server ended by itself, and why its artifact was refused, if it was."""

    ready: bool
    stable: RevisionFigures | None = None
    canary: RevisionFigures | None = None
    restarts: int = 0
    refused: str = ""
    shadow: ShadowFigures | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Literal["advance", "hold", "rollback"]
    reason: str
    figures: dict[str, float | None]


def judge(
    spec: CanarySpec,
    max_latency_ms: float,
    canary: RevisionFigures,
    stable: RevisionFigures | None,
) -> Verdict:
    """Judge one step on the increments of both revisions' counters since it began."""
    figures = _compare(canary, stable)
    error_increase = (figures["canary_error_ratio"] or 0.0) - (figures["stable_error_ratio"] or 0.0)
    enough = canary.requests >= spec.min_requests
    if error_increase > spec.max_error_increase and (enough or canary.errors >= FAST_ERRORS):
        usual = figures["stable_error_ratio"] or 0.0
        reason = f"error ratio {figures['canary_error_ratio']:.1%} against {usual:.1%}"
        return Verdict("rollback", reason, figures)
    if not enough:
        return Verdict("hold", f"{canary.requests} of {spec.min_requests} requests", figures)
    slow, normal = figures["canary_p99_ms"], figures["stable_p99_ms"]
    if slow and normal and slow > max(normal * spec.max_latency_ratio, max_latency_ms):
        return Verdict("rollback", f"p99 {slow:g} ms against {normal:g} ms", figures)
    flags, expected = figures["canary_anomaly_rate"], figures["stable_anomaly_rate"]
    if flags is not None and expected is not None and flags - expected > spec.max_anomaly_increase:
        return Verdict("rollback", f"anomaly rate {flags:.1%} against {expected:.1%}", figures)
    sides = ("canary", "stable") if stable else ("canary",)
    missing = [name for name, value in figures.items() if value is None and name.startswith(sides)]
    if missing:
        return Verdict("hold", f"could not be measured: {', '.join(missing)}", figures)
    return Verdict("advance", "no worse than stable" if stable else "serves without errors", figures)


def _compare(canary: RevisionFigures, stable: RevisionFigures | None) -> dict[str, float | None]:
    figures: dict[str, float | None] = {"canary_requests": canary.requests}
    for name, side in (("canary", canary), ("stable", stable)):
        figures[f"{name}_error_ratio"] = _ratio(side.errors, side.requests) if side else None
        figures[f"{name}_p99_ms"] = quantile(side.latency, 0.99) if side else None
        figures[f"{name}_anomaly_rate"] = _ratio(side.anomalies, side.rows) if side else None
    return figures


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def increment(now: RevisionFigures, base: RevisionFigures) -> RevisionFigures:
    """What the counters gained. One that fell was reset by a restart and counts from zero, as Prometheus'
    `increase` does, and so do all that the same process counts: the router's (requests, errors, latency) and
    the model server's (rows, anomalies)."""
    widest = max(len(now.latency), len(base.latency))
    requests, errors, *latency = _gains(
        (now.requests, now.errors, *_padded(now.latency, widest)),
        (base.requests, base.errors, *_padded(base.latency, widest)),
    )
    rows, anomalies = _gains((now.rows, now.anomalies), (base.rows, base.anomalies))
    return RevisionFigures(
        requests=requests, errors=errors, rows=rows, anomalies=anomalies, latency=tuple(latency)
    )


def _gains(now: tuple[int, ...], base: tuple[int, ...]) -> tuple[int, ...]:
    gained = tuple(after - before for after, before in zip(now, base, strict=True))
    return now if min(gained) < 0 else gained


def _padded(counts: Sequence[int], width: int) -> tuple[int, ...]:
    return (*counts, *[0] * (width - len(counts)))


def quantile(counts: Sequence[int], q: float) -> float | None:
    """The q-quantile in ms, linear within its bucket as Prometheus' `histogram_quantile`; None when nothing
    was counted. Beyond the last bound the bound itself is the answer: slower cannot be told."""
    total = sum(counts)
    if not total:
        return None
    rank, seen = q * total, 0
    for (low, high), count in zip(pairwise((0, *LATENCY_BUCKETS_MS)), counts, strict=False):
        if count and seen + count >= rank:
            return low + (high - low) * (rank - seen) / count
        seen += count
    return float(LATENCY_BUCKETS_MS[-1])
