"""What a predictor tells Prometheus about the rows that it scores."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Bounds of score / threshold, so that revisions of different algorithms can be laid over each other."""

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """Counters of one revision, registered once per process."""

    def __init__(self, registry: CollectorRegistry, revision: str, algorithm: str, version: str) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(name, text, ["revision"], registry=registry).labels(revision)

        self._rows = counter("homeostat_rows", "Rows (or windows) that were scored")
        self._anomalies = counter("homeostat_anomalies", "Rows that were above the threshold")
        self._rejected = counter("homeostat_rejected", "Requests that could not be scored")
        self._seconds = Histogram(
            "homeostat_predict_seconds",
            "Time to score a request",
            ["revision"],
            buckets=SECONDS,
            registry=registry,
        ).labels(revision)
        self._scores = _Ratios(revision)
        registry.register(self._scores)
        info = Gauge(
            "homeostat_model_info", "1; what serves", ["revision", "algorithm", "version"], registry=registry
        )
        info.labels(revision, algorithm, version).set(1)

    def rejected(self) -> None:
        self._rejected.inc()

    def scored(
        self, scores: NDArray[np.float64], flags: NDArray[np.bool_], threshold: float, seconds: float
    ) -> None:
        self._rows.inc(len(scores))
        self._anomalies.inc(int(flags.sum()))
        self._seconds.observe(seconds)
        self._scores.add(scores / threshold if threshold > 0 else scores - threshold + 1)


class _Ratios(Collector):
    """A histogram that takes an array at a time; prometheus_client's own takes a microsecond per value."""

    def __init__(self, revision: str) -> None:
        self._revision = revision
        self._counts = np.zeros(len(RATIOS) + 1, np.int64)
        self._sum = 0.0

    def add(self, ratios: NDArray[np.float64]) -> None:
        # `le` includes its bound, hence side left.
        self._counts += np.bincount(np.searchsorted(RATIOS, ratios, side="left"), minlength=len(RATIOS) + 1)
        self._sum += float(ratios.sum())

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(
            "homeostat_scores", "score / threshold of each row", labels=["revision"]
        )
        bounds = [*map(str, RATIOS), "+Inf"]
        cumulated = np.cumsum(self._counts).tolist()
        family.add_metric([self._revision], list(zip(bounds, cumulated, strict=True)), self._sum)
        return [family]
