"""Whether the parts answer where functions look for them: the broker's own word, and which pods stand behind
a Service. A person's machine reaches no address of the cluster, so the API server is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ..findings import Finding
from .broker_way import BROKER_NAME, service_of
from .check_sources import Source, Unknown
from .kinds import BROKER, CONFIG_MAP, ENDPOINT_SLICE, ENDPOINTS
from .kustomized import Object
from .render import NAMESPACE, SETTINGS, config_map, wrong_settings

CLASS = "eventing.knative.dev/broker.class"

WAYS = {
    "HOMEOSTAT_PIPELINES_URL": "Kubeflow Pipelines",
    "HOMEOSTAT_PROMETHEUS_URL": "Prometheus",
    "MLFLOW_TRACKING_URI": "MLflow",
}
"""Settings that are addresses, and what answers there."""


def current(source: Source, objects: Sequence[Object]) -> Mapping[str, str]:
    """The ConfigMap's data as the cluster has it; the overlay's where there is none, or nobody says."""
    try:
        found = source.find(CONFIG_MAP, NAMESPACE, SETTINGS)
    except Unknown:
        found = None
    data: Mapping[str, str] = (found or config_map(objects)).get("data") or {}
    return data


def settings(source: Source, objects: Sequence[Object]) -> Iterator[Finding]:
    found = source.find(CONFIG_MAP, NAMESPACE, SETTINGS)
    if found is None:
        return  # told among the objects
    data, wanted = found.get("data") or {}, config_map(objects)["data"]
    missing = [key for key in wanted if key not in data]
    for key in missing:
        mend = f"kubectl -n {NAMESPACE} edit configmap {SETTINGS}; the overlay has {wanted[key]!r}"
        yield Finding(f"setting {key}", False, "is missing", mend)
    faults = [one for one in wrong_settings(data) if one.field.rpartition(".")[2] not in missing]
    for one in faults:
        yield Finding(f"setting {one.field.rpartition('.')[2]}", False, f"is {one.value}", one.mend)
    if not missing and not faults:
        yield Finding("settings", True, f"{len(data)}, all of them valid")


def broker(source: Source, objects: Sequence[Object]) -> Iterator[Finding]:
    found = source.find(BROKER, NAMESPACE, BROKER_NAME)
    if found is None:
        return  # told among the objects
    wanted = next(one for one in objects if one["kind"] == "Broker")["metadata"].get("annotations", {})
    there = found["metadata"].get("annotations", {}).get(CLASS, "the cluster's default")
    if CLASS in wanted and there != wanted[CLASS]:
        mend = f"a class cannot be changed: kubectl -n {NAMESPACE} delete broker {BROKER_NAME}, apply again"
        yield Finding("broker's class", False, f"{there}, and the overlay's is {wanted[CLASS]}", mend)
    else:
        yield Finding("broker's class", True, there)
    status = found.get("status", {})
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    condition = conditions.get("Ready", {"status": "Unknown", "message": "has no status"})
    if condition["status"] != "True":
        mend = f"kubectl -n {NAMESPACE} describe broker {BROKER_NAME}; does a controller of its class run?"
        yield Finding("broker", False, f"is not ready: {condition.get('message', '')}", mend)
        return
    yield Finding("broker", True, f"ready at {status.get('address', {}).get('url', 'no address')}")


def ways(source: Source, settings: Mapping[str, str]) -> Iterator[Finding]:
    for key, name in WAYS.items():
        if settings.get(key):
            yield from _behind(source, name, settings[key], key)
    address = ingress(source)
    if address:
        yield from _behind(source, "the broker's ingress", address, "the Broker's status.address.url")


def ingress(source: Source) -> str:
    """The broker's address in its own words; empty while it says none, or may not be asked."""
    try:
        found = source.find(BROKER, NAMESPACE, BROKER_NAME) or {}
    except Unknown:
        return ""
    return str(found.get("status", {}).get("address", {}).get("url", ""))


def _behind(source: Source, name: str, url: str, said_by: str) -> Iterator[Finding]:
    host, where = urlsplit(url).hostname or "", service_of(url)
    if where is None:
        advice = f"{said_by} is no address of this cluster: whether functions reach it is not told here"
        yield Finding(f"way to {name}", True, f"{host} was not looked at", advice=advice)
        return
    service, namespace = where
    try:
        answering = _answering(source, service, namespace)
    except Unknown as unknown:
        yield Finding(f"way to {name}", False, f"{unknown.what}: {unknown.found}", unknown.mend)
        return
    if answering is None:
        mend = f"install {name}, or write its address into {said_by}"
        yield Finding(f"way to {name}", False, f"no Service {service} in {namespace}", mend)
    elif answering:
        yield Finding(f"way to {name}", True, f"{answering} pods behind {service} in {namespace}")
    else:
        mend = f"kubectl -n {namespace} get pods; its events and logs say why none is ready"
        yield Finding(f"way to {name}", False, f"no pod behind {service} in {namespace} is ready", mend)


def _answering(source: Source, service: str, namespace: str) -> int | None:
    """How many pods behind it are ready; None where there is no such Service."""
    try:
        slices = [one for one in source.all(ENDPOINT_SLICE, namespace) if _of(one) == service]
    except Unknown:
        slices = []
    if slices:
        ends = [end for one in slices for end in one.get("endpoints") or ()]
        return sum((end.get("conditions") or {}).get("ready", True) is True for end in ends)
    # Older clusters, and whoever may read only these.
    found = source.find(ENDPOINTS, namespace, service)
    subsets = (found or {}).get("subsets") or ()
    return None if found is None else sum(len(one.get("addresses") or ()) for one in subsets)


def _of(endpoint_slice: Mapping[str, Any]) -> str:
    return str(endpoint_slice["metadata"].get("labels", {}).get("kubernetes.io/service-name", ""))
