"""What becomes of every Detector, as gauges: read from the Detectors when Prometheus asks, so that what is
gone is not shown any more.

Of a Detector there are at most some forty series, of three revisions: what serves, what served before, what
is on trial. Detectors over `MOST` are counted and not shown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import ValidationError

from homeostat.functions.detector import Quality, Status

log = logging.getLogger(__name__)

MOST = 1000
PHASES = ("Waiting", "Training", "Tuning", "Judging", "Canary", "Serving")
FOUND: Mapping[str, Callable[[Quality], float]] = {
    "caught": lambda found: found.caught,
    "missed": lambda found: found.missed,
    "false_alarm": lambda found: found.false_alarms,
    "passed": lambda found: found.passed,
}

Row = tuple[tuple[str, ...], float]
"""Values of the labels after `detector`, and the figure."""


@dataclass(frozen=True)
class Gauge:
    """One metric, and its rows for a Detector's status."""

    name: str
    text: str
    read: Callable[[Status], Iterator[Row]]
    labels: Sequence[str] = field(default=())


def _one(figure: Callable[[Status], float | None]) -> Callable[[Status], Iterator[Row]]:
    """A row of the Detector itself; none where there is no figure."""

    def read(status: Status) -> Iterator[Row]:
        found = figure(status)
        if found is not None:
            yield (), found

    return read


def _phase(status: Status) -> Iterator[Row]:
    for phase in PHASES:
        yield (phase,), phase == status.phase


def _serving(status: Status) -> Iterator[Row]:
    if status.serving:
        yield (status.serving.name,), 1


def _promoted(status: Status) -> Iterator[Row]:
    if status.serving and status.serving.promoted:
        yield (status.serving.name,), status.serving.promoted.timestamp()


def _known(status: Status) -> Iterator[tuple[str, Quality]]:
    """Quality of the revisions that are still spoken of."""
    trial = status.canary.revision if status.canary else None
    for one in (status.serving, status.previous, trial):
        if one and one.name in status.quality:
            yield one.name, status.quality[one.name]


def _quality(status: Status) -> Iterator[Row]:
    for revision, quality in dict(_known(status)).items():
        for found, read in FOUND.items():
            yield (revision, found), read(quality)


def _false_alarms(status: Status) -> Iterator[Row]:
    for revision, quality in dict(_known(status)).items():
        if quality.days > 0:
            yield (revision,), quality.false_events / quality.days


GAUGES = (
    Gauge("homeostat_detector_phase", "1 for what it is busy with", _phase, ["phase"]),
    Gauge("homeostat_new_rows", "Rows that no run has seen", _one(lambda now: now.new_rows)),
    Gauge("homeostat_incidents", "Alerts that fire and are not over", _one(lambda now: len(now.incidents))),
    Gauge("homeostat_held", "Decisions that wait for approval", _one(lambda now: len(now.held))),
    Gauge("homeostat_serving_info", "1; the revision that serves", _serving, ["revision"]),
    Gauge("homeostat_promoted_time_seconds", "When it began to serve", _promoted, ["revision"]),
    Gauge(
        "homeostat_canary_percent",
        "The share of requests that a canary is sent; there while there is one",
        _one(lambda now: now.canary.percent if now.canary else None),
    ),
    Gauge(
        "homeostat_canary_paused",
        "1 while a canary is paused by hand",
        _one(lambda now: now.canary.paused if now.canary else None),
    ),
    Gauge("homeostat_drift_statistic", "The last test's", _one(lambda now: now.drift.statistic)),
    Gauge("homeostat_drift_threshold", "Above it is drift", _one(lambda now: now.drift.threshold)),
    Gauge("homeostat_drift_latched", "1 from drift to its answer", _one(lambda now: now.drift.latched)),
    Gauge(
        "homeostat_quality_rows", "Labelled rows, by what was said of them", _quality, ["revision", "found"]
    ),
    Gauge("homeostat_quality_false_alarms_per_day", "In normal rows", _false_alarms, ["revision"]),
)


class DetectorGauges(Collector):
    """`documents` are the Detectors as manifests with their statuses. Asked on whatever thread collects."""

    def __init__(self, documents: Callable[[], Sequence[Mapping[str, Any]]], most: int = MOST) -> None:
        self._documents, self._most = documents, most

    def describe(self) -> list[Metric]:
        """Nothing: to register it shall ask nobody for the Detectors."""
        return []

    def collect(self) -> Iterator[Metric]:
        documents = sorted(self._documents(), key=lambda one: str(one["metadata"]["name"]))
        statuses = [
            (name, status) for name, status in map(_read, documents[: self._most]) if status is not None
        ]
        yield GaugeMetricFamily("homeostat_detectors", "Detectors that there are", len(documents))
        left_out = max(0, len(documents) - self._most)
        yield GaugeMetricFamily("homeostat_detectors_left_out", "Detectors that have no gauges", left_out)
        for gauge in GAUGES:
            family = GaugeMetricFamily(gauge.name, gauge.text, labels=["detector", *gauge.labels])
            for name, status in statuses:
                for labels, value in gauge.read(status):
                    family.add_metric([name, *labels], float(value))
            yield family


def _read(document: Mapping[str, Any]) -> tuple[str, Status | None]:
    """A Detector's name and status; None for one that somebody else has written."""
    name, said = str(document["metadata"]["name"]), document.get("status") or {}
    try:
        known = {field: value for field, value in said.items() if field in Status.model_fields}
        return name, Status.model_validate(known)
    except ValidationError:
        log.warning("%s has a status that cannot be read: no gauges of it", name)
        return name, None
