"""Every object of every overlay is valid by the real schemas, runs restricted, and holds no secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from homeostat.infra.cluster.kustomized import Object, containers
from tests.cluster.kinds import wrong
from tests.cluster.rendered import INFRA, OVERLAYS, base, everything, named, of, overlay
from tests.eventing.test_sources import closed, declared, served

# The shared schemas are of a cluster without the operator (external-secrets: apis/externalsecrets/v1).
EXTERNAL_SECRET = closed(
    {
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"const": "external-secrets.io/v1"},
            "kind": {"const": "ExternalSecret"},
            "metadata": {"properties": {"name": {"type": "string"}, "namespace": {"type": "string"}}},
            "spec": {
                "properties": {
                    "refreshInterval": {"type": "string"},
                    "secretStoreRef": {
                        "required": ["name"],
                        "properties": {
                            "name": {"type": "string"},
                            "kind": {"enum": ["SecretStore", "ClusterSecretStore"]},
                        },
                    },
                    "target": {
                        "properties": {
                            "name": {"type": "string"},
                            "creationPolicy": {"enum": ["Owner", "Orphan", "Merge", "None"]},
                        }
                    },
                    "dataFrom": {
                        "items": {
                            "properties": {
                                "extract": {"required": ["key"], "properties": {"key": {"type": "string"}}}
                            }
                        }
                    },
                }
            },
        },
    }
)
CLUSTER_WIDE = {"Namespace", "CustomResourceDefinition", "ClusterServingRuntime", "ClusterTrainingRuntime"}


def _type(validator: Any, types: Any, value: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    """OpenAPI 2 calls Kubernetes' numbers-or-names strings, of a format that says what they are."""
    if not (schema.get("format") == "int-or-string" and isinstance(value, int)):
        yield from jsonschema.Draft202012Validator.VALIDATORS["type"](validator, types, value, schema)


Kubernetes = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"type": _type})


def valid(one: Object, shared: Path) -> None:
    kind = (one["apiVersion"], one["kind"])
    everywhere = (served(shared / "openapi" / "definitions.json"), declared(shared / "crds"))
    schemas = [known[kind] for known in everywhere if kind in known]
    if one["kind"] == "ExternalSecret":
        schemas = [EXTERNAL_SECRET]
    if one["kind"] == "AlertmanagerConfig":  # its definition is ours as well
        assert wrong(one) == []
        return
    assert schemas, f"no schema of {kind}"
    for schema in schemas:
        Kubernetes(schema).validate(one)


@pytest.mark.parametrize("one", base(), ids=named)
def test_every_object_of_base_is_valid_against_the_real_schemas(shared: Path, one: Object) -> None:
    valid(one, shared)


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_an_overlay_changes_is_valid_as_well(shared: Path, name: str) -> None:
    known = base()
    changed = [one for one in overlay(name) if one not in known]
    assert changed, "an overlay that changes nothing"
    for one in changed:
        valid(one, shared)


@pytest.mark.parametrize(
    ("kind", "name", "path"),
    [
        ("Service", "receive-data", "spec.template.spec.containerConcurency"),
        ("Service", "receive-data", "spec.template.spec.containers.0.securityContext.runAsNonroot"),
        ("ClusterServingRuntime", "homeostat", "spec.modelFormats"),
        ("ClusterTrainingRuntime", "homeostat", "spec.mlPolicy.nodes"),
        ("NetworkPolicy", "services", "spec.ingres"),
        ("EventPolicy", "functions", "spec.filter"),
        ("PodMonitor", "services", "spec.endpoints"),
        ("PrometheusRule", "homeostat", "spec.groups.0.alerts"),
        ("Deployment", "mlflow", "spec.template.spec.containers.0.environment"),
        ("StatefulSet", "mlflow-database", "spec.volumeClaims"),
        ("ServiceAccount", "roll-out", "automount"),
        ("ExternalSecret", "kafka", "spec.store"),
        ("PodDisruptionBudget", "gateway", "spec.minimum"),
    ],
)
def test_a_misspelt_field_is_no_valid_object(shared: Path, kind: str, name: str, path: str) -> None:
    wrong = yaml.safe_load(yaml.safe_dump(of(overlay("production"), kind)[name]))
    *way, last = path.split(".")
    place = wrong
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[last] = "x"
    with pytest.raises(jsonschema.ValidationError, match=last):
        valid(wrong, shared)


@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_everything_lies_in_our_namespace(name: str) -> None:
    for one in everything()[name]:
        namespace = one["metadata"].get("namespace")
        assert namespace == (None if one["kind"] in CLUSTER_WIDE else "homeostat"), named(one)


def test_every_file_is_used_but_the_examples() -> None:
    """A manifest that no kustomization names would be forgotten silently."""
    for file in INFRA.rglob("kustomization.yaml"):
        asked = yaml.safe_load(file.read_text())
        listed = {(file.parent / one).resolve() for one in asked.get("resources", [])}
        listed |= {(file.parent / one["path"]).resolve() for one in asked.get("patches", []) if "path" in one}
        lying = {one.resolve() for one in file.parent.glob("*.yaml")} - {file.resolve()}
        assert lying <= listed, file
        if file.parent == INFRA / "base":
            below = {one.parent.resolve() for one in file.parent.glob("*/kustomization.yaml")}
            assert below <= listed


# --- images, Pod Security ----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_every_image_is_told_by_its_digest(name: str) -> None:
    images = {one["image"] for found in everything()[name] for one in containers(found)}
    assert len(images) == 3
    assert all(re.fullmatch(r"[a-z0-9./-]+@sha256:[0-9a-f]{64}", one) for one in images), images


def pods(node: Any) -> Iterator[dict[str, Any]]:
    """Pod specs, wherever they are; Knative's and KServe's as well."""
    if isinstance(node, dict):
        if "containers" in node:
            yield node
        for value in node.values():
            yield from pods(value)
    elif isinstance(node, list):
        for one in node:
            yield from pods(one)


RUNNING = [
    one for one in overlay("production") if one["kind"] != "CustomResourceDefinition" and list(pods(one))
]


@pytest.mark.parametrize("one", RUNNING, ids=named)
def test_every_pod_is_restricted(one: Object) -> None:
    """As Kubernetes' Pod Security Standards have it, and with a root file system that is only read."""
    for pod in pods(one):
        whole = pod.get("securityContext", {})
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        kinds = {key for volume in pod.get("volumes", []) for key in volume} - {"name"}
        assert kinds <= {"emptyDir", "projected", "configMap", "secret", "persistentVolumeClaim"}
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            own = {**whole, **container["securityContext"]}
            assert own["allowPrivilegeEscalation"] is False
            assert own["readOnlyRootFilesystem"] is True
            assert own["runAsNonRoot"] is True
            assert own["runAsUser"] > 0
            assert own["seccompProfile"] == {"type": "RuntimeDefault"}
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


def test_the_namespace_lets_nothing_in_that_is_not_restricted() -> None:
    labels = of(base(), "Namespace")["homeostat"]["metadata"]["labels"]
    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {
        "restricted"
    }


# --- secrets -----------------------------------------------------------------------------------------------
_SECRET = re.compile(r"(?i)passw|secret|token|credential|private.?key|access.?key|api.?key")


def values(node: Any) -> Iterator[tuple[str, Any]]:
    """Every name that is given a plain value: keys of maps, and env's."""
    if isinstance(node, dict):
        if isinstance(node.get("name"), str) and "value" in node:
            yield node["name"], node["value"]
        for key, value in node.items():
            if isinstance(value, str):
                yield key, value
            yield from values(value)
    elif isinstance(node, list):
        for one in node:
            yield from values(one)


@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_no_secret_is_written_down(name: str) -> None:
    for one in everything()[name]:
        assert one["kind"] != "Secret"
        if one["kind"] == "CustomResourceDefinition":
            continue
        said = {key for key, _ in values(one) if _SECRET.search(key)}
        # Names of Secrets, of keys in them and of files are no secrets.
        assert not said - {"auth.secret.ref.name", "secretName", "POSTGRES_PASSWORD_FILE"}, named(one)
        text = yaml.safe_dump(one)
        assert not re.search(r"-----BEGIN|AKIA[0-9A-Z]{16}|://[^/\s:]+:[^@\s]+@", text), named(one)


def asked_for(node: Any) -> Iterator[str]:
    """Secrets that objects name."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("secretKeyRef", "secretRef", "credentials"):
                yield value["name"]
            elif key == "auth.secret.ref.name":
                yield value
            elif key == "secret" and isinstance(value, dict):
                yield value["ref"]["name"] if "ref" in value else value["secretName"]
            else:
                yield from asked_for(value)
    elif isinstance(node, list):
        for one in node:
            yield from asked_for(one)


def test_production_is_given_every_secret_that_it_names_from_outside() -> None:
    objects = overlay("production")
    running = [one for one in objects if one["kind"] not in ("ExternalSecret", "CustomResourceDefinition")]
    given = {one["spec"]["target"]["name"] for one in of(objects, "ExternalSecret").values()}
    assert given == set(asked_for(running))
