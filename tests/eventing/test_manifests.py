"""Our own manifests are valid Knative, strictly; others are refused by file and field."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from homeostat.eventing.broker import cron
from homeostat.eventing.broker.manifests import read
from homeostat.eventing.errors import Reject

EVENTING = Path(__file__).parents[2] / "eventing"
FILES = [EVENTING / "broker.yaml", EVENTING / "triggers.yaml", EVENTING / "sources" / "canary-tick.yaml"]


@cache
def strict_schemas(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Schemas by apiVersion and kind; a field that a schema does not name is a fault."""
    document = json.loads(path.read_text())
    definitions = document.get("definitions", document)
    root = {"definitions": {name: _closed(schema) for name, schema in definitions.items()}}
    found = {}
    for name, schema in definitions.items():
        for kind in schema.get("x-kubernetes-group-version-kind", []):
            version = "/".join(filter(None, (kind["group"], kind["version"])))
            found[version, kind["kind"]] = {"$ref": f"#/definitions/{name}", **root}
    return found


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields")
    if "properties" in schema and "additionalProperties" not in schema and not open_ended:
        closed["additionalProperties"] = False
    return closed


def check(document: Mapping[str, Any], schemas: Mapping[tuple[str, str], dict[str, Any]]) -> None:
    """Without a look at the schemas themselves: Kubernetes' patterns are Go's, which Python need not know."""
    schema = schemas[document["apiVersion"], document["kind"]]
    jsonschema.Draft202012Validator(schema).validate(document)


def documents() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for file in FILES:
        for document in yaml.safe_load_all(file.read_text()):
            yield f"{document['kind']}/{document['metadata']['name']}", document


@pytest.mark.parametrize("document", [one for _, one in documents()], ids=[name for name, _ in documents()])
def test_our_manifests_are_valid_against_the_real_schemas(shared: Path, document: Mapping[str, Any]) -> None:
    schemas = strict_schemas(shared / "openapi" / "definitions.json")
    check(document, schemas)


def test_the_strict_validator_refuses_an_unknown_field(shared: Path) -> None:
    schemas = strict_schemas(shared / "openapi" / "definitions.json")
    _, broker = next(documents())
    wrong = {**broker, "spec": {**broker["spec"], "retires": 3}}
    with pytest.raises(jsonschema.ValidationError, match="retires"):
        check(wrong, schemas)


def test_the_embedded_broker_reads_those_very_files() -> None:
    found = read(FILES)
    assert found.brokers == [("homeostat", "default")]
    assert next(iter(found.triggers)).name == "receive-data"
    assert [ping.name for ping in found.pings] == ["canary-tick"]
    assert all(trigger.delivery.retry == 10 for trigger in found.triggers)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"broker": "other"}, "spec.broker"),
        ({"filters": [{"cesql": "true"}]}, "spec.filters"),
        ({"delivery": {"backoffPolicy": "random"}}, "backoffPolicy"),
        ({"delivery": {"timeout": "soon"}}, "spec.delivery"),
    ],
)
def test_a_trigger_that_cannot_run_is_refused_by_its_field(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    broker, trigger = (document for _, document in list(documents())[:2])
    file = tmp_path / "wrong.yaml"
    file.write_text(yaml.safe_dump_all([broker, {**trigger, "spec": {**trigger["spec"], **change}}]))
    with pytest.raises(Reject, match=named):
        read([file])


def test_a_ping_is_what_knatives_pingsource_sends() -> None:
    (ping,) = read(FILES).pings
    event = cron.tick(ping, datetime(2026, 11, 23, tzinfo=UTC))
    assert event.attributes["type"] == "dev.knative.sources.ping"
    assert event.attributes["source"] == "/apis/v1/namespaces/homeostat/pingsources/canary-tick"
    assert event.data == b"{}"


@pytest.mark.parametrize(
    ("schedule", "zone", "due"),
    [
        ("@every 90s", "UTC", timedelta(seconds=90)),
        ("*/5 * * * *", "UTC", timedelta(minutes=5)),
        ("0 9 * * *", "Europe/Berlin", timedelta(hours=8)),
    ],
)
def test_schedules_are_cron_in_their_own_time_zone(schedule: str, zone: str, due: timedelta) -> None:
    from dataclasses import replace

    (ping,) = read(FILES).pings
    midnight = datetime(2026, 11, 23, tzinfo=UTC)
    assert cron.next_tick(replace(ping, schedule=schedule, timezone=zone), midnight) == midnight + due


@pytest.mark.parametrize(("schedule", "zone"), [("often", "UTC"), ("@every 0", "UTC"), ("* * * * *", "Mars")])
def test_a_schedule_that_cannot_be_read_is_refused(schedule: str, zone: str) -> None:
    from dataclasses import replace

    (ping,) = read(FILES).pings
    with pytest.raises(Reject, match="PingSource canary-tick"):
        cron.check(replace(ping, schedule=schedule, timezone=zone))
