"""What the broker counts. Labels are trigger names, which manifests bound."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram


class Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"homeostat_broker_{name}", text, labels, registry=registry)

        self.accepted = counter("accepted", "Events that are on disk")
        self.duplicates = counter("duplicates", "Events that were there already")
        self.delivered = counter("delivered", "Deliveries that succeeded", "trigger")
        self.retried = counter("retried", "Deliveries that failed and are tried again", "trigger")
        self.dead = counter("dead", "Events that became dead letters", "trigger")
        self.latency = Histogram(
            "homeostat_broker_delivery_seconds",
            "From acceptance to a subscriber's success",
            ["trigger"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
            registry=registry,
        )
