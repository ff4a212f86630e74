"""What a predictor tells Prometheus about the requests that it answers and the rows that it scores.

Every metric carries the revision's name, and the little else that has few values: a canary is judged on the
sum over all pods of its revision, however a cluster names and labels those.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Bounds of score / threshold, so that revisions of different algorithms can be laid over each other. A
canary's scores are judged by these: they are `functions.canary.SCORE_BUCKETS`."""

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

OUTCOMES = ("ok", "rejected", "error")
"""`rejected` is the client's fault (4xx), as far as one revision can tell; `error` is the revision's own."""

REQUEST_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""A canary's latency is judged by these: they are `functions.canary.LATENCY_BUCKETS_MS`."""

_FEW = 16


class Metrics:
    """Counters of one revision, registered once per process."""

    def __init__(self, registry: CollectorRegistry, revision: str, algorithm: str, version: str) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(name, text, ["revision"], registry=registry).labels(revision)

        self._rows = counter("homeostat_rows", "Rows (or windows) that were scored")
        self._anomalies = counter("homeostat_anomalies", "Rows that were above the threshold")
        self._rejected = counter("homeostat_rejected", "Requests that could not be scored")
        self._seconds = Histogram("homeostat_predict_seconds", "Time to score a request", SECONDS, revision)
        self._scores = Histogram("homeostat_scores", "score / threshold of each row", RATIOS, revision)
        self._request_seconds = Histogram(
            "homeostat_request_seconds", "Time until a request was answered", REQUEST_SECONDS, revision
        )
        for one in (self._seconds, self._scores, self._request_seconds):
            registry.register(one)
        requests = Counter(
            "homeostat_requests", "Inference requests", ["revision", "outcome"], registry=registry
        )
        # All of them at once: no requests yet is not the same as no figure.
        self._requests = {outcome: requests.labels(revision, outcome) for outcome in OUTCOMES}
        started = Gauge(
            "homeostat_start_time_seconds", "When this process began", ["revision"], registry=registry
        )
        # A change of it is a restart: Prometheus' own process_start_time_seconds knows no revision.
        started.labels(revision).set(time.time())
        info = Gauge(
            "homeostat_model_info", "1; what serves", ["revision", "algorithm", "version"], registry=registry
        )
        info.labels(revision, algorithm, version).set(1)

    def answered(self, outcome: str, seconds: float) -> None:
        """A request, whatever became of it: one of `OUTCOMES`."""
        self._requests[outcome].inc()
        self._request_seconds.observe(seconds)

    def rejected(self) -> None:
        self._rejected.inc()

    def scored(
        self, scores: NDArray[np.float64], flags: NDArray[np.bool_], threshold: float, seconds: float
    ) -> None:
        self._rows.inc(len(scores))
        self._anomalies.inc(np.count_nonzero(flags))
        self._seconds.observe(seconds)
        self._scores.add(scores / threshold if threshold > 0 else scores - threshold + 1)


class Histogram(Collector):
    """A histogram that takes an array at a time, and a value in less than a microsecond; prometheus_client's
    own takes several for each value. To be written by one thread."""

    def __init__(self, name: str, text: str, bounds: Sequence[float], revision: str) -> None:
        self._name, self._text, self._bounds, self._revision = name, text, bounds, revision
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        # `le` includes its bound, hence left.
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def add(self, values: NDArray[np.float64]) -> None:
        """Each of the values; a few are faster one by one."""
        if len(values) <= _FEW:
            for value in values.tolist():
                self.observe(value)
            return
        places = np.searchsorted(self._bounds, values, side="left")
        found = np.bincount(places, minlength=len(self._counts)).tolist()
        self._counts = [before + more for before, more in zip(self._counts, found, strict=True)]
        self._sum += float(values.sum())

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(self._name, self._text, labels=["revision"])
        bounds = [*map(str, self._bounds), "+Inf"]
        family.add_metric(
            [self._revision], list(zip(bounds, accumulate(self._counts), strict=True)), self._sum
        )
        return [family]
