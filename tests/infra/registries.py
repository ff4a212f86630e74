"""Every registry of ours, built with the real objects of each room, and what Prometheus finds in them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry

from homeostat.eventing.doors import Tokens
from homeostat.functions.detector import DriftState, Incident, Quality, Status
from homeostat.infra.local.home import Home
from homeostat.infra.local.settings import Settings
from homeostat.infra.outcome import Outcome
from homeostat.models.predictor_metrics import Metrics
from tests.functions.detectors import NOON, canary, cause, revision, spec

SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}

BUSY = Status(
    serving=revision("pump-1", promoted=NOON),
    previous=revision("pump-0"),
    canary=canary("pump-2", percent=25),
    drift=DriftState(revision="pump-1", statistic=0.2, threshold=0.1, latched=True),
    incidents=(Incident(fingerprint="f", starts_at="", alertname="A", action="retrain", since=NOON),),
    quality={
        name: Quality(caught=30, missed=10, false_alarms=5, passed=900, false_events=2, days=4, measured=NOON)
        for name in ("pump-1", "pump-of-last-year")
    },
)


@contextlib.contextmanager
def registries(state: Path) -> Iterator[dict[str, CollectorRegistry]]:
    """By the room that counts in them. A Detector `pump` is busy with a canary."""
    home = Home(Settings(state=state), Tokens(state / "tokens.json"), "token")
    home.store.apply("pump", spec())
    found = home.store.snapshot("pump", NOON, cause())
    assert found is not None
    nothing = Outcome(detector=found[0], commands=[], events=[])
    assert home.store.commit("pump", found[1], BUSY, "put", nothing)
    model = CollectorRegistry()
    Metrics(model, "pump-1", "ensemble", "1")
    names = ("broker", "router", "gateway", "functions")
    try:
        yield {
            **dict(zip(names, home.scraped.registries, strict=True)),
            "detectors": home.scraped.detectors,
            "model server": model,
        }
    finally:
        home.store.close()


def series(registry: CollectorRegistry) -> Iterator[str]:
    """Names as queries write them."""
    for family in registry.collect():
        yield from (family.name + suffix for suffix in SUFFIXES[family.type])


def labels(registry: CollectorRegistry) -> dict[str, set[str]]:
    """By metric. One that nobody has counted in yet tells its labels as well."""
    declared: dict[str, set[str]] = {}
    for collector in list(registry._collector_to_names):
        name = getattr(collector, "_name", None)
        if name and hasattr(collector, "_labelnames"):
            declared[name] = set(collector._labelnames)
    for family in registry.collect():
        found = {label for sample in family.samples for label in sample.labels} - {"le"}
        declared[family.name] = declared.get(family.name, set()) | found
    return declared
