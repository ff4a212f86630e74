"""What the broker counts. Labels are trigger names, which manifests bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)


class TriggerMetrics:
    """The counters of one trigger, looked up once: a look-up costs as much as counting."""

    def __init__(self, metrics: Metrics, trigger: str) -> None:
        self.delivered = metrics.delivered.labels(trigger)
        self.retried = metrics.retried.labels(trigger)
        self.dead = metrics.dead.labels(trigger)
        self.latency = metrics.latency.labels(trigger)


class Metrics:
    def __init__(self, registry: CollectorRegistry, standing: Callable[[], Standing]) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"homeostat_broker_{name}", text, ["trigger"], registry=registry)

        self.delivered = counter("delivered", "Deliveries that succeeded")
        self.retried = counter("retried", "Deliveries that failed and are tried again")
        self.dead = counter("dead", "Events that became dead letters")
        self.latency = Histogram(
            "homeostat_broker_delivery_seconds",
            "From acceptance to a subscriber's success",
            ["trigger"],
            buckets=_BUCKETS,
            registry=registry,
        )
        registry.register(_Asked(standing))


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the broker stands: what it took since its start, and how far each trigger is behind."""

    accepted: int
    duplicates: int
    lag: Mapping[str, int]


class _Asked:
    """Figures that live elsewhere are asked for when they are scraped."""

    def __init__(self, standing: Callable[[], Standing]) -> None:
        self._standing = standing

    def collect(self) -> Iterator[Metric]:
        now = self._standing()
        yield CounterMetricFamily("homeostat_broker_accepted", "Events that are on disk", now.accepted)
        yield CounterMetricFamily(
            "homeostat_broker_duplicates", "Events that were there already", now.duplicates
        )
        lag = GaugeMetricFamily(
            "homeostat_broker_lag", "Events behind the trigger's cursor", labels=["trigger"]
        )
        for trigger, behind in now.lag.items():
            lag.add_metric([trigger], behind)
        yield lag
