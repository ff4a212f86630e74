"""What the gateway counts, by door."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"homeostat_gateway_{name}", text, ["door"], registry=registry)

        self.accepted = counter("accepted", "Events that the broker took")
        self.unmatched = counter("unmatched", "Notices and alerts that belong to no Detector")
        self.truncated = counter(
            "truncated_alerts", "Alerts that their sender left out of a group (max_alerts)"
        )
