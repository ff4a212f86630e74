"""What is counted: bounded in labels and in series, gone with what it speaks of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from homeostat.eventing.messages import Promote, TrainingFailed, TrainingRequested
from homeostat.functions.detector import Message, Status
from homeostat.infra.detector_gauges import PHASES, DetectorGauges
from homeostat.infra.served import Served, called
from tests.functions.detectors import NOON, completed, detector, revision, run
from tests.infra.registries import BUSY, labels, registries

BOUNDED = {
    "detector": "at most MOST of them, or as many as there are model servers here",
    "revision": "what serves, served before, is on trial",
    "function": "functions.FUNCTIONS",
    "message": "messages.EVENTS and COMMANDS",
    "outcome": "a table in each room",
    "phase": "detector_gauges.PHASES",
    "found": "detector_gauges.FOUND",
    "trigger": "the manifests' Triggers",
    "door": "doors.DOORS",
    "status": "statuses of HTTP that the router answers by itself",
    "fate": "posted or dropped; in order, late, repeated, unscored",
    "kind": "what a label says: observing.labels",
    "source": "the manifests' sources",
    "algorithm": "models.ALGORITHMS",
    "version": "one of a revision",
}
"""Why each label has few values. Nothing else may label a metric: no id, no address, no path."""


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, CollectorRegistry]]:
    with registries(tmp_path_factory.mktemp("home")) as found:
        yield found


def test_every_label_of_every_room_has_few_values(rooms: dict[str, CollectorRegistry]) -> None:
    for room, registry in rooms.items():
        found = labels(registry)
        assert found, room
        for name, names in found.items():
            assert names <= BOUNDED.keys(), f"{room}: {name}"


def test_every_metric_of_ours_is_named_so_and_of_one_room(rooms: dict[str, CollectorRegistry]) -> None:
    owners: dict[str, list[str]] = {}
    for room, registry in rooms.items():
        for family in registry.collect():
            owners.setdefault(family.name, []).append(room)
    assert all(name.startswith(("homeostat_", "process_")) for name in owners)
    assert [name for name, rooms_of in owners.items() if len(rooms_of) > 1] == []


def document(name: str, status: Status) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": status.model_dump(mode="json")}


def gauges(*documents: dict[str, Any], most: int = 1000) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(DetectorGauges(lambda: documents, most))
    return registry


def value(registry: CollectorRegistry, name: str, **names: str) -> float | None:
    return registry.get_sample_value(f"homeostat_{name}", names)


def test_a_detector_shows_what_it_is_busy_with_and_what_serves() -> None:
    found = gauges(document("pump", BUSY))
    assert value(found, "detector_phase", detector="pump", phase="Canary") == 1
    assert sum(value(found, "detector_phase", detector="pump", phase=one) or 0 for one in PHASES) == 1
    assert value(found, "canary_percent", detector="pump") == 25
    assert value(found, "drift_statistic", detector="pump") == 0.2
    assert value(found, "drift_threshold", detector="pump") == 0.1
    assert value(found, "drift_latched", detector="pump") == 1
    assert value(found, "incidents", detector="pump") == 1
    assert value(found, "serving_info", detector="pump", revision="pump-1") == 1
    assert value(found, "promoted_time_seconds", detector="pump", revision="pump-1") == NOON.timestamp()
    assert value(found, "quality_rows", detector="pump", revision="pump-1", found="false_alarm") == 5
    assert value(found, "quality_false_alarms_per_day", detector="pump", revision="pump-1") == 0.5


def test_what_is_gone_has_no_series() -> None:
    documents = [document("pump", BUSY)]
    registry = CollectorRegistry()
    registry.register(DetectorGauges(lambda: documents))
    shown = {sample.labels.get("revision") for one in registry.collect() for sample in one.samples}
    assert shown == {None, "pump-1"}, "labels of a revision that nobody speaks of are kept, not shown"
    documents[0] = document("pump", Status(serving=revision("pump-2")))
    assert value(registry, "serving_info", detector="pump", revision="pump-1") is None
    assert value(registry, "canary_percent", detector="pump") is None, "no canary is not one of 0 %"
    assert value(registry, "drift_statistic", detector="pump") is None, "nothing tested is not nothing found"
    documents.clear()
    assert {sample.labels.get("detector") for one in registry.collect() for sample in one.samples} == {None}


def test_detectors_beyond_the_cap_are_counted_and_not_shown() -> None:
    found = gauges(*(document(f"d{number}", BUSY) for number in range(5)), most=3)
    samples = [sample for one in found.collect() for sample in one.samples]
    assert {one.labels["detector"] for one in samples if "detector" in one.labels} == {"d0", "d1", "d2"}
    assert value(found, "detectors") == 5
    assert value(found, "detectors_left_out") == 2
    assert len(samples) <= 2 + 3 * 40


def test_a_status_that_cannot_be_read_hides_no_other_detector() -> None:
    found = gauges({"metadata": {"name": "odd"}, "status": {"new_rows": "many"}}, document("pump", Status()))
    assert value(found, "detector_phase", detector="pump", phase="Waiting") == 1
    assert value(found, "detectors") == 2


def test_a_decision_is_counted_by_what_it_says() -> None:
    served = Served()
    promote = Promote(detector="pump", revision="pump-2", uri="models/2")
    said: list[Message] = [TrainingRequested(), promote, detector().remember(new_rows=0)]
    assert called(said) == ["training.requested", "Promote"]
    served.decided("plan-retraining", TrainingRequested(), detector(), said)
    for message in ("training.requested", "Promote"):
        names = {"function": "plan-retraining", "message": message}
        assert served.registry.get_sample_value("homeostat_decisions_total", names) == 1


def test_a_run_is_timed_from_its_start_to_the_event_that_ends_it_once() -> None:
    served = Served()
    busy = detector(NOON + timedelta(minutes=3), run=run("pump-run", NOON))
    served.decided("judge-candidate", completed(run="pump-run"), busy, [])
    served.decided("judge-candidate", completed(run="another"), busy, [])
    served.decided("judge-candidate", completed(run="pump-run"), detector(), [])

    def figure(suffix: str, outcome: str) -> float | None:
        return served.registry.get_sample_value(f"homeostat_run_seconds_{suffix}", {"outcome": outcome})

    assert (figure("count", "completed"), figure("sum", "completed")) == (1, 180)
    served.decided("judge-candidate", TrainingFailed(run="pump-run", step="fit", error="no rows"), busy, [])
    assert figure("count", "failed") == 1
