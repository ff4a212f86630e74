"""The Detector's CRD: as fresh as the models, as strict as they are, and readable with kubectl."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    PlainValidator,
    ValidationError,
    WrapValidator,
)

from homeostat.eventing.durations import parse_duration
from homeostat.functions.detector import Status
from homeostat.functions.spec import Spec
from homeostat.infra import manifest
from homeostat.infra.cluster import crd
from homeostat.models import ALGORITHMS
from tests.cluster.detector_documents import documents, refused
from tests.eventing.test_sources import check
from tests.functions.detectors import canary, detector, run

EXAMPLES = sorted((crd.FOLDER.parent / "examples").glob("*.yaml"))
MINIMAL: dict[str, Any] = {"data": {"uri": "s3://plant/pump/", "channels": ["Current"]}}
SPECS = Spec.model_json_schema()
STATUSES = Status.model_json_schema()
NAMED = {"apiVersion": manifest.API_VERSION, "kind": "Detector", "metadata": {"name": "pump"}}


def of_spec(spec: Any) -> dict[str, Any]:
    return {**NAMED, "spec": spec}


def nodes(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside a schema."""
    yield path, node
    for name, one in node.get("properties", {}).items():
        yield from nodes(one, f"{path}.{name}".lstrip("."))
    for word, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if word in node:
            yield from nodes(node[word], path + mark)


def test_the_rendered_file_is_fresh() -> None:
    (file,) = crd.FOLDER.glob("*.yaml")
    assert file.name == f"{crd.crd()['metadata']['name']}.yaml"
    assert file.read_text() == crd.text(), "run make compile"


def test_it_is_a_valid_definition_and_knows_no_field_that_kubernetes_does_not(shared: Path) -> None:
    check(yaml.safe_load(crd.text()), shared)


ALLOWED = {"type", "description", "enum", "format", "pattern", "required", "nullable", "properties", "items"}
ALLOWED |= {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength"}
ALLOWED |= {"minItems", "maxItems", "minProperties", "maxProperties", "additionalProperties"}
ALLOWED |= {"x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations"}
ALLOWED |= {"x-kubernetes-list-type", "x-kubernetes-list-map-keys"}


def test_the_schema_is_structural() -> None:
    """Kubernetes' own rules: every node has one type, is closed or open but never both, refers to nothing."""
    for path, node in nodes(crd.schema()):
        assert not node.keys() - ALLOWED, path
        assert "type" in node or node.get("x-kubernetes-preserve-unknown-fields") is True, path
        assert not {"properties", "additionalProperties"} <= node.keys(), path
        assert (node.get("type") == "array") == ("items" in node), path
        for flag in ("exclusiveMinimum", "exclusiveMaximum"):
            assert node.get(flag, True) is True, path
        assert set(node.get("required", ())) <= node.get("properties", {}).keys(), path
        re.compile(node.get("pattern", ""))
        assert "(?" not in node.get("pattern", ""), f"{path}: Go knows no lookaround"


def test_only_what_is_free_by_nature_keeps_unknown_fields() -> None:
    free = {path for path, node in nodes(crd.schema()) if "x-kubernetes-preserve-unknown-fields" in node}
    assert all(re.search(r"(parameters\{\}|held\[\]\.data|data|spec|status)$", one) for one in free), free
    assert not {"", "spec", "status", "spec.data"} & free


@pytest.mark.parametrize("column", crd.COLUMNS, ids=[one["name"] for one in crd.COLUMNS])
def test_a_column_reads_what_is_there(column: dict[str, Any]) -> None:
    path = column["jsonPath"].removeprefix(".")
    if path.startswith("metadata"):
        assert path == "metadata.creationTimestamp"
        return
    node = crd.at(crd.schema(), path)
    expected = {"date": {"string"}, "integer": {"integer"}, "string": {"string"}}[column["type"]]
    assert {node["type"]} == expected
    assert (node.get("format") == "date-time") == (column["type"] == "date")


def test_every_phase_is_one_that_the_schema_knows() -> None:
    ever = {detector(**status).status.phase for status in ({}, {"run": run()}, {"canary": canary()})}
    assert ever <= set(crd.ALSO["phase"]["enum"])
    named = re.findall(r'"([A-Z][a-z]+)"', Path(str(Status.phase.fget.__code__.co_filename)).read_text())  # type: ignore[attr-defined]
    assert set(crd.PHASES) <= set(named)


# --- what validators check ---------------------------------------------------------------------------------
_CHECKS = (AfterValidator, BeforeValidator, PlainValidator, WrapValidator)


def validated(model: type[BaseModel], path: str) -> Iterator[str]:
    """Paths of fields whose validators say more than the schema can; durations have their own pattern."""
    decorated = model.__pydantic_decorators__
    if decorated.model_validators or decorated.root_validators:
        yield path
    for one in decorated.field_validators.values():
        yield from (f"{path}.{name}" for name in one.info.fields)
    for name, field in model.model_fields.items():
        own = [one for one in field.metadata if isinstance(one, _CHECKS) and one.func is not parse_duration]
        if own:
            yield f"{path}.{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from validated(field.annotation, f"{path}.{name}")


def test_what_a_validator_checks_is_a_rule_of_the_definition() -> None:
    said = {path.removesuffix("[]") for path in crd.RULES} - {""}
    assert set(validated(Spec, "spec")) == said


def test_every_rule_has_words_for_people() -> None:
    for path, node in nodes(crd.schema()):
        for rule in node.get("x-kubernetes-validations", ()):
            assert rule["message"], path
            # Their cost is reckoned from the largest value that may come.
            assert node["type"] != "array" or "maxItems" in node, path


@pytest.mark.parametrize(
    ("section", "value", "field"),
    [
        ("retrain", {"cooldwon": "1m"}, "spec.retrain"),
        ("retrain", {"cooldown": "soon"}, "spec.retrain.cooldown"),
        ("retrain", {"cooldown": "P"}, "spec.retrain.cooldown"),
        ("retrain", {"min_new_rows": 0}, "spec.retrain.min_new_rows"),
        ("canary", {"steps": [0, 50]}, "spec.canary.steps.0"),
        ("canary", {"steps": [50, 100]}, "spec.canary.steps.1"),
        ("gate", {"min": 1.1}, "spec.gate.min"),
        ("gate", {"max_latency_ms": 0}, "spec.gate.max_latency_ms"),
        ("data", {"uri": "x", "channels": []}, "spec.data.channels"),
        ("candidates", [], "spec.candidates"),
        ("candidates", ["isolation_forest"], "spec.candidates.0"),
        ("candidates", ["ensemble:1"], "spec.candidates.0"),
        ("threshold", {"method": "magic"}, "spec.threshold.method"),
        ("mode", "auto", "spec.mode"),
        ("mode", None, "spec.mode"),
        ("replicas", 3, "spec"),
    ],
)
def test_what_the_model_refuses_the_schema_refuses_at_its_field(section: str, value: Any, field: str) -> None:
    spec = {**MINIMAL, section: value}
    with pytest.raises(ValidationError):
        Spec.model_validate(spec)
    assert set(refused(of_spec(spec))) == {field}


@pytest.mark.parametrize("name", [*ALGORITHMS, "pyod:KNN", "pyod"])
def test_every_algorithm_is_a_candidate(name: str) -> None:
    assert not refused(of_spec({**MINIMAL, "candidates": [name]}))


def accepted(spec: Any) -> bool:
    try:
        Spec.model_validate(spec)
    except ValidationError:
        return False
    return True


@settings(max_examples=200, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.data())
def test_one_section_at_a_time_model_and_schema_agree(data: st.DataObject) -> None:
    """Alone, a section is accepted often enough. What only the model refuses has a CEL rule."""
    name = data.draw(st.sampled_from(sorted(SPECS["properties"])))
    spec = {**MINIMAL, name: data.draw(documents(SPECS["properties"][name], SPECS["$defs"]))}
    ruled = any(
        path.startswith(f"spec.{name}") and "x-kubernetes-validations" in rule
        for path, rule in crd.RULES.items()
    )
    if accepted(spec):
        assert not refused(of_spec(spec))
    elif not ruled:
        assert refused(of_spec(spec))


@settings(max_examples=100, suppress_health_check=list(HealthCheck), deadline=None)
@given(documents(STATUSES, STATUSES["$defs"]))
def test_a_status_as_it_is_written_passes_the_schema(found: dict[str, Any]) -> None:
    try:
        status = Status.model_validate(found)
    except ValidationError:
        return
    written = {**json.loads(status.model_dump_json()), "phase": status.phase, "last_drift": None}
    assert not refused({**of_spec(MINIMAL), "status": written})


def test_a_full_status_passes_the_schema() -> None:
    status = detector(run=run(), canary=canary(), serving=canary().revision).status
    written: dict[str, Any] = {
        **json.loads(status.model_dump_json()),
        "phase": status.phase,
        "last_drift": datetime(2026, 3, 1, tzinfo=UTC).isoformat(),
        "observedGeneration": 3,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Serving",
                "message": "",
                "lastTransitionTime": "2026-03-01T00:00:00Z",
            }
        ],
        "history": [{"id": "1", "type": "t", "source": "/s", "data": "{}"}],
    }
    assert not refused({**of_spec(MINIMAL), "status": written})
    long = [{"id": "1" * 300, "type": "t", "source": "/s"}]
    assert refused({**of_spec(MINIMAL), "status": {**written, "history": long}}) == ["status.history.0.id"]
    many = written["history"] * 101
    assert refused({**of_spec(MINIMAL), "status": {**written, "history": many}}) == ["status.history"]
    assert refused({**of_spec(MINIMAL), "status": {**written, "phases": 1}}) == ["status"]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_example_is_valid_in_both_homes(file: Path) -> None:
    assert [name for name, _ in manifest.read(file)]
    for document in yaml.safe_load_all(file.read_text()):
        assert not refused(document)
