"""Simulated requests of a canary and of the stable revision beside it, as the counters that routers and
predictors keep: errors, latencies, scores, and bursts of anomalies that come to both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import erf, log, sqrt
from typing import Any

import numpy as np
from numpy.random import Generator

from homeostat.functions.canary import LATENCY_BUCKETS_MS, SCORE_BUCKETS
from homeostat.functions.detector import RevisionFigures

Floats = np.ndarray[Any, np.dtype[np.float64]]
Counts = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Model:
    """What one revision does with a request: log-normal latencies, whose slowest tenth takes `stretch` times
    as long, and log-normal scores, of which those of anomalies lie above the threshold."""

    errors: float = 0.005
    anomalies: float = 0.05
    stretch: float = 1.0
    slowness: float = 1.0

    @cache  # noqa: B019
    def latency(self) -> Floats:
        """The share in each bucket: a median of 8 ms and a p99 of 40 ms where nothing is stretched."""
        bounds = [ms / self.slowness for ms in LATENCY_BUCKETS_MS]
        stretched = [
            ms if ms <= SLOWEST_TENTH_MS else max(ms / self.stretch, SLOWEST_TENTH_MS) for ms in bounds
        ]
        return _buckets([1 - _normal(log(ms / 8) / SPREAD) for ms in stretched])

    @cache  # noqa: B019
    def scores(self, anomalous: float) -> Floats:
        usual = [1 - _normal(log(bound / 0.4) / 0.25) for bound in SCORE_BUCKETS]
        high = [1 - _normal(log(bound / 1.8) / 0.2) for bound in SCORE_BUCKETS]
        above = [(1 - anomalous) * one + anomalous * other for one, other in zip(usual, high, strict=True)]
        return _buckets(above)


SPREAD = log(5) / 2.326
SLOWEST_TENTH_MS = 8 * 5 ** (1.2816 / 2.326)


def _buckets(above: Sequence[float]) -> Floats:
    shares: Floats = np.array([1.0, *above]) - np.array([*above, 0.0])
    return shares


def _normal(z: float) -> float:
    return (1 + erf(z / sqrt(2))) / 2


@dataclass
class Side:
    """Counters of one revision that serves `model`."""

    model: Model
    counts: Counts = field(
        default_factory=lambda: np.zeros(4 + len(LATENCY_BUCKETS_MS) + 1 + len(SCORE_BUCKETS) + 1, np.int64)
    )

    def serve(self, chance: Generator, requests: int, burst: float | None) -> None:
        """`burst`: the rate of anomalies of this moment, where it is not the model's own."""
        rate = self.model.anomalies if burst is None else burst
        scores = chance.multinomial(requests, self.model.scores(rate))
        flagged = scores[SCORE_BUCKETS.index(1.0) + 1 :].sum()
        totals = [requests, chance.binomial(requests, self.model.errors), requests, flagged]
        self.counts += [*totals, *chance.multinomial(requests, self.model.latency()), *scores]

    def since(self, base: Counts) -> RevisionFigures:
        requests, errors, rows, anomalies, *buckets = (self.counts - base).tolist()
        cut = len(LATENCY_BUCKETS_MS) + 1
        latency, scores = tuple(buckets[:cut]), tuple(buckets[cut:])
        return RevisionFigures(
            requests=requests,
            errors=errors,
            rows=rows,
            anomalies=anomalies,
            latency=latency,
            scores=scores,
        )


def bursts(chance: Generator, requests: int) -> Iterator[float]:
    """Anomaly rates, one for every so many requests: events of 400 requests on average, a twentieth of the
    time, in which four of five requests are anomalous."""
    begins, ends = requests / 400 / 19, requests / 400
    within = False
    while True:
        within = chance.random() < begins if not within else chance.random() >= ends
        yield 0.8 if within else 0.01
