"""Every kind that a cluster of ours knows, and whether a document of it is valid, strictly: an unknown field
is a fault. The schemas are the CRDs in ../shared/crds, our own, and what a kube-apiserver tells of its
built-in kinds.

CEL rules and admission webhooks are not run here; they need a real API server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import yaml

from homeostat.infra.cluster.crd import crd
from tests.cluster.detector_documents import strict
from tests.cluster.foreign_crds import definitions
from tests.eventing.test_sources import GATED

SHARED = Path(os.environ.get("HOMEOSTAT_SHARED", Path(__file__).parents[3] / "shared"))
CORE = {
    "v1": (
        *("ConfigMap", "Secret", "ServiceAccount", "Namespace"),
        *("Service", "Endpoints", "Pod", "PodTemplate", "PersistentVolumeClaim"),
    ),
    "apps/v1": ("Deployment", "StatefulSet"),
    "batch/v1": ("Job", "CronJob"),
    "networking.k8s.io/v1": ("NetworkPolicy",),
    "policy/v1": ("PodDisruptionBudget",),
    "apiextensions.k8s.io/v1": ("CustomResourceDefinition",),
    "authentication.k8s.io/v1": ("TokenReview",),
    "authorization.k8s.io/v1": ("SubjectAccessReview", "SelfSubjectAccessReview"),
    "rbac.authorization.k8s.io/v1": ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"),
}
"""The built-in kinds that our manifests, executors and tests name."""

_CLUSTER = {"Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
_CLUSTER |= {"TokenReview", "SubjectAccessReview", "SelfSubjectAccessReview"}
_WITH_STATUS = {"Deployment", "StatefulSet", "Job", "Pod", "CustomResourceDefinition", "PodDisruptionBudget"}
_IRREGULAR = {"NetworkPolicy": "networkpolicies", "Endpoints": "endpoints"}


def _type(validator: Any, types: Any, value: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    """OpenAPI 2 calls Kubernetes' numbers-or-names strings, of a format that says what they are."""
    if not (schema.get("format") == "int-or-string" and isinstance(value, int)):
        yield from jsonschema.Draft4Validator.VALIDATORS["type"](validator, types, value, schema)


Kubernetes = jsonschema.validators.extend(jsonschema.Draft4Validator, {"type": _type})


@dataclass(frozen=True)
class Kind:
    """`stored` says where its schema lies: a CRD's file, or None for a built-in kind."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    has_status: bool
    stored: Path | None = None

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]


@dataclass(frozen=True)
class Wrong:
    """One finding: the path, whether the field is unknown there, and what the schema says."""

    path: str
    unknown: bool
    message: str


@cache
def kinds() -> Mapping[tuple[str, str], Kind]:
    """By apiVersion and plural, as an API server's paths name them."""
    return {(one.api_version, one.plural): one for one in (*_built_in(), *_custom())}


@cache
def by_kind() -> Mapping[tuple[str, str], Kind]:
    return {(one.api_version, one.kind): one for one in kinds().values()}


def _built_in() -> Iterator[Kind]:
    for version, names in CORE.items():
        for name in names:
            plural = _IRREGULAR.get(name, name.lower() + "s")
            yield Kind(version, name, plural, name not in _CLUSTER, name in _WITH_STATUS)


def _custom() -> Iterator[Kind]:
    for file in sorted((SHARED / "crds").rglob("*.yaml")):
        # The schemas are megabytes; what a kind is called stands before them, and after.
        for document in _documents(file):
            yield from _of(document, file)
    for document in (crd(), *definitions()):
        yield from _of(document, None)


def _of(document: Mapping[str, Any], file: Path | None) -> Iterator[Kind]:
    spec = document["spec"]
    for version in spec["versions"]:
        yield Kind(
            f"{spec['group']}/{version['name']}",
            spec["names"]["kind"],
            spec["names"]["plural"],
            spec["scope"] == "Namespaced",
            "status" in version.get("subresources", {}),
            file or Path("ours"),
        )


def vendors() -> list[dict[str, Any]]:
    """The definitions of others' kinds."""
    files = sorted((SHARED / "crds").rglob("*.yaml"))
    return [*definitions(), *(one for file in files for one in _documents(file))]


@cache
def _documents(file: Path) -> list[dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [one for one in yaml.load_all(file.read_text(), loader) if one]


@cache
def _built_in_schemas() -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((SHARED / "openapi" / "definitions.json").read_bytes())
    return found["definitions"]  # type: ignore[no-any-return]


@cache
def validator(kind: Kind) -> Any:
    """Patterns of Kubernetes are Go's, so that schemas themselves are not checked."""
    if kind.stored is None:
        return Kubernetes(_built_in_schema(kind))
    documents = [crd(), *definitions()] if kind.stored == Path("ours") else _documents(kind.stored)
    for document in documents:
        for version in document["spec"]["versions"]:
            names = (f"{document['spec']['group']}/{version['name']}", document["spec"]["names"]["kind"])
            if names == (kind.api_version, kind.kind):
                schema = _gated(strict(version["schema"]["openAPIV3Schema"]))
                heads = {"apiVersion": {}, "kind": {}, "metadata": _meta()}
                schema["properties"] = {**schema.get("properties", {}), **heads}
                schema["definitions"] = strict(_built_in_schemas())
                return Kubernetes(schema)
    raise KeyError(kind)


def _gated(node: Any) -> Any:
    """Knative's deliveries have fields that its definitions leave to "preserve unknown fields", and that its
    webhook lets in by a feature's name."""
    if isinstance(node, list):
        return [_gated(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {key: _gated(value) for key, value in node.items()}
    named = found.get("properties")
    if isinstance(named, dict) and "backoffPolicy" in named:
        found["properties"] = named | GATED
    return found


def _meta() -> dict[str, Any]:
    return {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}


def _built_in_schema(kind: Kind) -> dict[str, Any]:
    version = kind.api_version.rpartition("/")[2]
    for name, schema in _built_in_schemas().items():
        for one in schema.get("x-kubernetes-group-version-kind", ()):
            if (one["group"], one["version"], one["kind"]) == (kind.group, version, kind.kind):
                return {"$ref": f"#/definitions/{name}", "definitions": strict(_built_in_schemas())}
    raise KeyError(f"no schema of {kind}")


def wrong(document: Mapping[str, Any]) -> list[Wrong]:
    """All that the schema of its kind finds. Raises KeyError for a kind that nobody knows."""
    kind = by_kind()[document["apiVersion"], document["kind"]]
    found = []
    for error in validator(kind).iter_errors(document):
        deepest = jsonschema.exceptions.best_match([error]) or error
        path = ".".join(map(str, deepest.absolute_path))
        found.append(Wrong(path, deepest.validator == "additionalProperties", deepest.message[:300]))
    return found
