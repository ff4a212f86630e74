"""What a canary is judged on: counters of both revisions, what they gained during a step, and what histograms
say. `verdicts` judges them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log

from .detector import RevisionFigures

LATENCY_BUCKETS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Upper bounds in milliseconds. The router counts by them; one more bucket holds everything slower."""

LEAST_MS = 0.5
"""No request is faster, where a place between nothing and the first bound is looked for."""

SCORE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Upper bounds of score / threshold, by which predictors count rows; one more bucket holds all above."""

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
    the canary's server ended by itself, and why its artifact was refused, if it was. `copies`: whether this
    home sends a shadow copies of requests."""

    ready: bool
    stable: RevisionFigures | None = None
    canary: RevisionFigures | None = None
    restarts: int = 0
    refused: str = ""
    shadow: ShadowFigures | None = None
    copies: bool = True


def increment(now: RevisionFigures, base: RevisionFigures) -> RevisionFigures:
    """What the counters gained. One that fell was reset by a restart and counts from zero, as Prometheus'
    `increase` does, and so do all that the same process counts: the router's (requests, errors, latency) and
    the model server's (rows, anomalies, scores)."""
    slowest = max(len(now.latency), len(base.latency))
    requests, errors, *latency = _gains(
        (now.requests, now.errors, *_padded(now.latency, slowest)),
        (base.requests, base.errors, *_padded(base.latency, slowest)),
    )
    highest = max(len(now.scores), len(base.scores))
    rows, anomalies, *scores = _gains(
        (now.rows, now.anomalies, *_padded(now.scores, highest)),
        (base.rows, base.anomalies, *_padded(base.scores, highest)),
    )
    return RevisionFigures(
        requests=requests,
        errors=errors,
        rows=rows,
        anomalies=anomalies,
        latency=tuple(latency),
        scores=tuple(scores),
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


def slower(counts: Sequence[int], limit_ms: float) -> float:
    """The share of requests slower than `limit_ms`, which may lie between two bounds: there latencies are
    taken to thin out as a power of time, as tails do. What was never seen counts half a request.

    >>> round(slower((0, 0, 0, 90, 10), 10), 2)
    0.1
    """
    if limit_ms <= LEAST_MS:
        return 1.0
    total, place = sum(counts) + 1, bisect_left(LATENCY_BUCKETS_MS, limit_ms)
    under = sum(counts[:place])
    more = (total - 0.5 - under) / total
    if place == len(LATENCY_BUCKETS_MS):
        return more
    less = more - sum(counts[place : place + 1]) / total
    low, high = LATENCY_BUCKETS_MS[place - 1] if place else LEAST_MS, LATENCY_BUCKETS_MS[place]
    return more * exp(log(less / more) * log(limit_ms / low) / log(high / low))
