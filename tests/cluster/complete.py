"""A cluster in which everything is as an overlay needs it, object for object: what the parts' controllers
would have written is written here."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from homeostat.infra.cluster.check_objects import READY
from homeostat.infra.cluster.crd import crd
from homeostat.infra.cluster.kinds import Kind
from homeostat.infra.cluster.kustomized import Object
from homeostat.infra.cluster.render import rendered
from tests.cluster.kinds import vendors

INGRESS = "http://broker-ingress.knative-eventing.svc.cluster.local/homeostat/default"
IMAGES = {
    name: f"registry.example/homeostat/{name}@sha256:{'a' * 64}" for name in ("function", "work", "postgres")
}
SECRETS = ("homeostat-objects", "homeostat-doors", "mlflow-database", "kafka", "uploads-s3")
BEHIND = {
    "ml-pipeline": "kubeflow",
    "prometheus-operated": "monitoring",
    "mlflow": "homeostat",
    "broker-ingress": "knative-eventing",
}
"""Services that functions call, and their namespaces."""

CONTROLLERS = {
    ("kubeflow", "katib-controller"): "ghcr.io/kubeflow/katib/katib-controller:v0.19.0",
    ("kubeflow", "ml-pipeline"): "ghcr.io/kubeflow/kfp-api-server:2.16.0",
    ("kserve", "kserve-controller-manager"): "kserve/kserve-controller:v0.20.0",
    ("kubeflow-system", "kubeflow-trainer-controller-manager"): "ghcr.io/kubeflow/trainer/manager:v2.1.0",
    ("external-secrets", "external-secrets"): "ghcr.io/external-secrets/external-secrets:v1.0.0",
}
"""Deployments whose image tells the part's version."""


def complete(overlay: str) -> list[Object]:
    """All of its objects, those that others need first."""
    return copy.deepcopy(_complete(overlay))


@cache
def _complete(overlay: str) -> list[Object]:
    ours = [_settled(one) for one in rendered(overlay, IMAGES)]
    spaces = {name for name, _ in CONTROLLERS} | set(BEHIND.values())
    return [
        *(_object("v1", "Namespace", "", name) for name in sorted(spaces - {"homeostat"})),
        *map(_installed, vendors()),
        crd(),
        *(one for one in ours if one["kind"] != "CustomResourceDefinition"),
        *(_controller(*where, image) for where, image in CONTROLLERS.items()),
        *(_object("v1", "Secret", "homeostat", name) for name in SECRETS),
        *(_endpoints(namespace, name) for name, namespace in BEHIND.items()),
    ]


def _settled(one: Object) -> Object:
    """With the status that says that all is well."""
    if one["kind"] == "StatefulSet":
        return {**one, "status": {"replicas": 1, "readyReplicas": 1}}
    if one["kind"] == "Broker":
        return {**one, "status": {**_condition("Ready"), "address": {"url": INGRESS}}}
    condition = READY.get(Kind.of(one).resource)
    return {**one, "status": _condition(condition)} if condition else one


def _condition(name: str, status: str = "True") -> dict[str, Any]:
    return {"conditions": [{"type": name, "status": status}]}


def _installed(definition: Mapping[str, Any]) -> Object:
    """A CRD as a release brings it; the shared ones are of no release. Of its schema no more than the check
    looks at: the rest is megabytes."""
    metadata = {**definition["metadata"], "labels": {**definition["metadata"].get("labels", {})}}
    if metadata["labels"].get("app.kubernetes.io/version") == "devel":
        metadata["labels"]["app.kubernetes.io/version"] = "1.20.0"
    spec = definition["spec"]
    versions = [{**one, "schema": {"openAPIV3Schema": _short(one)}} for one in spec["versions"]]
    return {**definition, "metadata": metadata, "spec": {**spec, "versions": versions}}


def _short(version: Mapping[str, Any]) -> Any:
    """The fields of a spec and of a predictor, without theirs."""
    whole = version["schema"]["openAPIV3Schema"]
    spec = whole.get("properties", {}).get("spec", {}).get("properties", {})
    predictor = spec.get("predictor", {}).get("properties", {})
    known = {**_named(spec), **({"predictor": _object_of(_named(predictor))} if predictor else {})}
    return _object_of({"spec": _object_of(known)})


def _named(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {name: {"type": one.get("type", "object")} for name, one in properties.items()}


def _object_of(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties)}


def _object(api_version: str, kind: str, namespace: str, name: str, **rest: Any) -> Object:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def _controller(namespace: str, name: str, image: str) -> Object:
    labels = {"app": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "manager", "image": image}]}}
    spec = {"selector": {"matchLabels": labels}, "template": pod}
    return _object("apps/v1", "Deployment", namespace, name, spec=spec)


def _endpoints(namespace: str, name: str) -> Object:
    subset = {"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 8080}]}
    return _object("v1", "Endpoints", namespace, name, subsets=[subset])


def find(objects: list[Object], kind: str, name: str) -> Object:
    return next(one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name))


def without(objects: list[Object], kind: str, name: str = "") -> Iterator[Object]:
    """All but that one; but those of the kind, without a name."""
    for one in objects:
        if one["kind"] != kind or (name and one["metadata"]["name"] != name):
            yield one
