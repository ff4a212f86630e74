"""The Detector: a manifest is checked by field, a status survives being written down."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from homeostat.functions.detector import Detector, DriftState, Judging, Status
from homeostat.functions.spec import Spec
from tests.functions.detectors import NOON, batch, canary, detector, revision, run, spec

MINIMAL: dict[str, Any] = {"data": {"uri": "s3://plant/pump/", "channels": ["Current"]}}


def test_a_manifest_needs_no_more_than_its_data() -> None:
    asked = Spec.model_validate(MINIMAL)
    assert asked.mode == "act"
    assert asked.canary.steps == (5, 25, 50)
    assert asked.retrain.cooldown == timedelta(minutes=10)


@pytest.mark.parametrize(
    ("section", "value", "field"),
    [
        ("retrain", {"cooldwon": "1m"}, "retrain.cooldwon"),
        ("retrain", {"cooldown": "soon"}, "retrain.cooldown"),
        ("retrain", {"min_new_rows": 0}, "retrain.min_new_rows"),
        ("retrain", {"budget_per_day": 0}, "retrain.budget_per_day"),
        ("canary", {"steps": [25, 5]}, "canary.steps"),
        ("canary", {"steps": [5, 5]}, "canary.steps"),
        ("canary", {"steps": [0, 50]}, "canary.steps"),
        ("canary", {"steps": [50, 100]}, "canary.steps"),
        ("canary", {"min_requests": 0}, "canary.min_requests"),
        ("drift", {"consecutive": 0}, "drift.consecutive"),
        ("gate", {"min": 1.1}, "gate.min"),
        ("data", {"uri": "x", "channels": []}, "data.channels"),
        ("candidates", [], "candidates"),
        ("candidates", ["isolation_forest"], "candidates"),
        ("threshold", {"method": "magic"}, "threshold.method"),
        ("threshold", {"false_alarm_rate": 0}, "threshold.false_alarm_rate"),
        ("features", {"missing": "guess"}, "features.missing"),
        ("features", {"baseline": 1}, "features.baseline"),
        ("mode", "auto", "mode"),
        ("replicas", 3, "replicas"),
    ],
)
def test_a_bad_field_is_named(section: str, value: Any, field: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Spec.model_validate({**MINIMAL, section: value})
    assert [".".join(map(str, one["loc"])) for one in raised.value.errors()] == [field]


def test_a_spec_reads_back_as_it_was_written() -> None:
    asked = spec("suggest", retrain={"cooldown": "1h30m", "debounce": "500ms"}, canary={"every": "2m"})
    assert Spec.model_validate_json(asked.model_dump_json()) == asked


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ({}, "Waiting"),
        ({"serving": revision()}, "Serving"),
        ({"serving": revision(), "run": run()}, "Training"),
        ({"serving": revision(), "judging": Judging(run="r", since=NOON)}, "Judging"),
        ({"serving": revision(), "canary": canary()}, "Canary"),
    ],
)
def test_the_phase_says_what_the_detector_is_busy_with(status: dict[str, Any], phase: str) -> None:
    one = detector(**status)
    assert one.status.phase == phase
    assert one.busy == (phase not in ("Waiting", "Serving"))


def test_a_figure_that_is_no_number_is_stored_as_missing() -> None:
    status = Status(drift=DriftState(statistic=float("nan")))
    assert Status.model_validate_json(status.model_dump_json()).drift.statistic is None


def test_a_snapshot_cannot_be_changed() -> None:
    one = detector()
    with pytest.raises(ValidationError, match="frozen"):
        one.status.new_rows = 7  # type: ignore[misc]


def test_remembering_changes_what_is_named_and_nothing_else() -> None:
    one = detector(batches=(batch(),), serving=revision())
    after = one.remember(new_rows=7).status
    assert after == one.status.model_copy(update={"new_rows": 7})
    assert one.status.new_rows == 6000


def test_a_snapshot_reads_back_as_it_was_written() -> None:
    one = detector(serving=revision(), canary=canary(), run=run(), judging=Judging(run="r", since=NOON))
    assert Detector.model_validate_json(one.model_dump_json()) == one
