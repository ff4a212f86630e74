"""Every manifest in eventing/ is valid, strictly: a field that the real schemas do not name is a fault."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from homeostat.eventing.broker.manifests import read
from homeostat.eventing.broker.sources import Kafka
from homeostat.eventing.errors import Reject

EVENTING = Path(__file__).parents[2] / "eventing"
SOURCES = EVENTING / "sources"
Kind = tuple[str, str]
"""apiVersion and kind."""

# What Knative's types have and its CRDs leave to `preserve-unknown-fields`: both behind feature gates.
GATED = {"timeout": {"type": "string"}, "retryAfterMax": {"type": "string"}}
# The shared schemas are of a cluster without it (knative-extensions/eventing-kafka-broker: 100-kafka-sink).
_SECRET = {"properties": {"ref": {"properties": {"name": {"type": "string"}}, "required": ["name"]}}}
KAFKA_SINK = {
    "properties": {
        "apiVersion": {},
        "kind": {},
        "metadata": {},
        "spec": {
            "required": ["topic", "bootstrapServers"],
            "properties": {
                "topic": {"type": "string"},
                "bootstrapServers": {"type": "array", "items": {"type": "string"}},
                "contentMode": {"enum": ["binary", "structured"]},
                "numPartitions": {"type": "integer"},
                "replicationFactor": {"type": "integer"},
                "auth": {"properties": {"secret": _SECRET}},
            },
        },
    },
}


def closed(schema: Any) -> Any:
    """No field beyond those that are named. Where Knative's CRDs name fields and yet preserve others, its
    webhook refuses them, and so does this."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    shut = {key: closed(value) for key, value in schema.items()}
    named = schema.get("properties")
    if isinstance(named, dict) and "additionalProperties" not in schema:
        shut["additionalProperties"] = False
        if "backoffPolicy" in named:
            shut["properties"] |= GATED
    return shut


@cache
def served(path: Path) -> dict[Kind, dict[str, Any]]:
    """Schemas by kind, as a kube-apiserver tells them."""
    definitions = json.loads(path.read_text())["definitions"]
    root = {"definitions": {name: closed(schema) for name, schema in definitions.items()}}
    found = {}
    for name, schema in definitions.items():
        for kind in schema.get("x-kubernetes-group-version-kind", []):
            version = "/".join(filter(None, (kind["group"], kind["version"])))
            found[version, kind["kind"]] = {"$ref": f"#/definitions/{name}", **root}
    return found


@cache
def declared(folder: Path) -> dict[Kind, dict[str, Any]]:
    """Schemas by kind, as CRDs declare them: more than is served, where they preserve unknown fields."""
    found: dict[Kind, dict[str, Any]] = {("eventing.knative.dev/v1alpha1", "KafkaSink"): closed(KAFKA_SINK)}
    for file in folder.glob("knative-*/*.yaml"):
        for crd in yaml.safe_load_all(file.read_text()):
            spec = crd["spec"]
            for version in spec["versions"]:
                schema = dict(version["schema"]["openAPIV3Schema"])
                known = {"apiVersion": {}, "kind": {}, "metadata": {}}
                schema["properties"] = known | schema.get("properties", {})
                kind = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
                found[kind] = closed(schema)
    return found


def check(document: Mapping[str, Any], shared: Path) -> None:
    """By all that is known of its kind. Schemas themselves are not checked: Kubernetes' patterns are Go's."""
    kind = (document["apiVersion"], document["kind"])
    everything = (served(shared / "openapi" / "definitions.json"), declared(shared / "crds"))
    schemas = [schemas[kind] for schemas in everything if kind in schemas]
    assert schemas, f"no schema of {kind}"
    for schema in schemas:
        jsonschema.Draft202012Validator(schema).validate(document)


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(EVENTING.rglob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            if document["kind"] != "Kustomization":
                yield (
                    f"{file.relative_to(EVENTING)}: {document['kind']} {document['metadata']['name']}",
                    document,
                )


NAMED = dict(documents())


def of_kind(kind: str) -> dict[str, Any]:
    return next(document for document in NAMED.values() if document["kind"] == kind)


@pytest.mark.parametrize("name", NAMED)
def test_every_manifest_is_valid_against_the_real_schemas(shared: Path, name: str) -> None:
    check(NAMED[name], shared)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Broker", "spec.delivery.retires"),
        ("Trigger", "spec.subscribers"),
        ("Trigger", "spec.delivery.dlq"),
        ("PingSource", "spec.cron"),
        ("ApiServerSource", "spec.kinds"),
        ("KafkaSource", "spec.topic"),
        ("KafkaSource", "spec.net.sasl.username"),
        ("KafkaSink", "spec.topics"),
        ("IntegrationSource", "spec.aws.s3.keepAfterRead"),
        ("SinkBinding", "spec.subject.labels"),
        ("Role", "rule"),
    ],
)
def test_a_misspelt_field_is_no_valid_manifest(shared: Path, kind: str, path: str) -> None:
    wrong = json.loads(json.dumps(of_kind(kind)))
    *way, last = path.split(".")
    place = wrong
    for step in way:
        place = place.setdefault(step, {})
    place[last] = "x"
    with pytest.raises(jsonschema.ValidationError, match=last):
        check(wrong, shared)


def test_every_manifest_is_listed_and_lies_where_it_is_listed() -> None:
    for folder in (EVENTING, SOURCES):
        listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
        there = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
        there |= {path.parent.name for path in folder.glob("*/kustomization.yaml")}
        assert sorted(listed) == sorted(there)


def test_everything_lies_in_one_namespace_and_every_sink_is_our_broker_or_the_gateway() -> None:
    assert {document["metadata"]["namespace"] for document in NAMED.values()} == {"homeostat"}
    sinks = [one["spec"]["sink"]["ref"] for one in NAMED.values() if "sink" in one.get("spec", {})]
    names = {(ref["kind"], ref["name"], ref["namespace"]) for ref in sinks}
    assert names == {("Broker", "default", "homeostat"), ("Service", "gateway", "homeostat")}


def test_the_s3_source_deletes_and_moves_nothing() -> None:
    s3 = of_kind("IntegrationSource")["spec"]["aws"]["s3"]
    assert (s3["deleteAfterRead"], s3["moveAfterRead"]) == (False, False)
    # Polled over and over, twice a second by default.
    assert s3["delay"] >= 60_000


def test_the_api_server_source_may_look_at_all_that_it_watches_and_only_look() -> None:
    watched = of_kind("ApiServerSource")["spec"]
    assert watched["serviceAccountName"] == of_kind("ServiceAccount")["metadata"]["name"]
    binding = of_kind("RoleBinding")
    assert [one["name"] for one in binding["subjects"]] == [watched["serviceAccountName"]]
    assert binding["roleRef"]["name"] == of_kind("Role")["metadata"]["name"]
    rules = of_kind("Role")["rules"]
    allowed = {(group, one) for rule in rules for group in rule["apiGroups"] for one in rule["resources"]}
    kinds = {(one["apiVersion"].partition("/")[0], one["kind"].lower() + "s") for one in watched["resources"]}
    assert allowed == kinds
    assert all(rule["verbs"] == ["get", "list", "watch"] for rule in rules)


def test_the_embedded_broker_reads_the_kafka_manifests_as_they_lie() -> None:
    found = read([EVENTING / "broker.yaml", SOURCES / "samples.yaml", SOURCES / "anomalies.yaml"])
    (feed,), (topic,) = found.kafka_sources, found.kafka_sinks
    assert feed.kafka == Kafka(("kafka-bootstrap.kafka:9092",))
    assert (feed.topics, feed.group, feed.initial_offset) == (("samples",), "homeostat-samples", "latest")
    assert (feed.consumers, feed.key_type, feed.broker) == (1, "string", ("homeostat", "default"))
    assert feed.extensions == {"detector": "pump"}
    assert (topic.name, topic.topic, topic.mode) == ("anomalies", "anomalies", "binary")


def kafka_source(tmp_path: Path, **changes: Any) -> list[Path]:
    document = json.loads(json.dumps(of_kind("KafkaSource")))
    document["spec"] |= changes
    file = tmp_path / "samples.yaml"
    file.write_text(yaml.safe_dump({**document, "spec": document["spec"]}))
    return [EVENTING / "broker.yaml", file]


def test_credentials_are_named_and_never_written(tmp_path: Path) -> None:
    def ref(key: str) -> dict[str, Any]:
        return {"secretKeyRef": {"name": "kafka", "key": key}}

    sasl = {"enable": True, "user": ref("user"), "password": ref("password"), "type": ref("type")}
    net = {"sasl": sasl, "tls": {"enable": True, "caCert": ref("ca.crt")}}
    (feed,) = read(kafka_source(tmp_path, net=net)).kafka_sources
    assert feed.kafka.protocol == "SASL_SSL"
    assert feed.kafka.secrets == {
        "sasl.username": ("kafka", "user"),
        "sasl.password": ("kafka", "password"),
        "sasl.mechanism": ("kafka", "type"),
        "ssl.ca.pem": ("kafka", "ca.crt"),
    }


def test_a_group_that_is_not_named_is_the_same_after_every_start(tmp_path: Path) -> None:
    first, second = (read(kafka_source(tmp_path, consumerGroup="")).kafka_sources[0].group for _ in range(2))
    assert first == second
    assert first.startswith("knative-kafka-source-")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"topics": []}, "spec.topics"),
        ({"bootstrapServers": "kafka:9092"}, "spec.bootstrapServers"),
        ({"initialOffset": "newest"}, "spec.initialOffset"),
        ({"consumers": -1}, "spec.consumers"),
        ({"topic": "samples"}, "spec.topic"),
        ({"sink": {"uri": "http://elsewhere/"}}, "spec.sink"),
        ({"sink": {"ref": {"kind": "Broker", "name": "other"}}}, "homeostat/other"),
        ({"ceOverrides": {"extensions": {"Detector": "pump"}}}, "extensions.Detector"),
        ({"ceOverrides": {"extensions": {"type": "mine"}}}, "extensions.type"),
        ({"ceOverrides": {"extensions": {"detector": 7}}}, "in quotes"),
        ({"ceOverrides": {"extensions": {"detector": "a\nb"}}}, "control"),
        ({"net": {"sasl": {"enable": True}}}, "spec.net.sasl.user"),
        ({"net": {"sasl": {"enable": True, "tokenProvider": {}}}}, "tokenProvider"),
        ({"net": {"tls": {"enable": True, "caCert": "PEM"}}}, "secretKeyRef"),
        ({"delivery": {"retry": -1}}, "spec.delivery.retry"),
    ],
)
def test_a_kafka_source_that_cannot_run_is_refused_by_its_field(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(Reject, match=named):
        read(kafka_source(tmp_path, **changes))
