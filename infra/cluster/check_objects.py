"""Whether what an overlay installs is there, ready, made of images that can be pulled, and has the Secrets
that it names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..findings import Finding
from .check_sources import Source, Unknown
from .client import Document
from .kinds import Kind, metadata
from .kustomized import Object
from .render import NAMESPACE, unreleased

READY: Mapping[str, str] = {
    "apiserversources.sources.knative.dev": "Ready",
    "deployments.apps": "Available",
    "eventpolicies.eventing.knative.dev": "Ready",
    "externalsecrets.external-secrets.io": "Ready",
    "integrationsources.sources.knative.dev": "Ready",
    "kafkasinks.eventing.knative.dev": "Ready",
    "kafkasources.sources.knative.dev": "Ready",
    "pingsources.sources.knative.dev": "Ready",
    "services.serving.knative.dev": "Ready",
    "sinkbindings.sources.knative.dev": "Ready",
    "triggers.eventing.knative.dev": "Ready",
}
"""By kind: the condition by which its controller says that all is well. The Broker has its own look."""

_SECRETS = {"secretRef": "name", "secretKeyRef": "name", "secret": "secretName"}
"""Fields that name a Secret, and in which of theirs the name is; `secret.name` and `secret.ref.name` too."""


def applied(source: Source, objects: Sequence[Object], overlay: str) -> Iterator[Finding]:
    """One finding for each kind."""
    mend = f"homeostat cluster render --overlay {overlay} | kubectl apply --server-side -f -"
    by_kind: dict[Kind, list[tuple[str, str]]] = {}
    for one in objects:
        by_kind.setdefault(Kind.of(one), []).append(metadata(one))
    for kind, wanted in by_kind.items():
        try:
            missing = [name for place, name in wanted if _there(source, kind, place, name) is None]
        except Unknown as unknown:
            yield Finding(f"our {kind.resource}", False, f"{unknown.what}: {unknown.found}", unknown.mend)
            continue
        found = f"{len(wanted) - len(missing)} of {len(wanted)}"
        if missing:
            yield Finding(f"our {kind.resource}", False, f"{found}; missing {', '.join(missing)}", mend)
        else:
            yield Finding(f"our {kind.resource}", True, f"{found} are there")


def ready(source: Source, objects: Sequence[Object]) -> Iterator[Finding]:
    """One finding for each that is not, and one for all that are. What is missing was told before."""
    well = 0
    for one, now in _now(source, objects):
        condition = READY.get(Kind.of(one).resource)
        wrong = _not_ready(now, condition) if condition else _too_few(now)
        if wrong is None:
            continue
        place, name = metadata(one)
        if wrong:
            mend = f"kubectl -n {place} describe {Kind.of(one).resource} {name}"
            yield Finding(f"{one['kind']} {name}", False, wrong, mend)
        else:
            well += 1
    if well:
        yield Finding("ready", True, f"{well} objects")


def images(source: Source, objects: Sequence[Object], overlay: str) -> Iterator[Finding]:
    using: dict[str, list[str]] = {}
    for one, now in _now(source, objects):
        for image in unreleased(now):
            using.setdefault(image, []).append(one["metadata"]["name"])
    for image, users in using.items():
        found = f"has no digest, and nobody can pull it: {', '.join(dict.fromkeys(users))}"
        mend = f"homeostat cluster render --overlay {overlay} --image-... REGISTRY/NAME@sha256:..., and apply"
        yield Finding(f"image {image}", False, found, mend)
    if not using and any(_now(source, objects)):
        yield Finding("images", True, "all have digests")


def secrets(source: Source, objects: Sequence[Object]) -> Iterator[Finding]:
    """Whether they exist; what is in them is not read."""
    named: dict[tuple[str, str], list[tuple[str, bool]]] = {}
    for one in objects:
        for name, optional in _named_secrets(one):
            # Pods of a runtime that is the cluster's run in our namespace.
            place = one["metadata"].get("namespace", NAMESPACE)
            named.setdefault((place, name), []).append((one["metadata"]["name"], optional))
    for (place, name), users in named.items():
        by = ", ".join(dict.fromkeys(user for user, _ in users))
        if source.has_secret(place, name):
            yield Finding(f"Secret {name}", True, f"is there, for {by}")
        elif all(optional for _, optional in users):
            advice = f"{by} would read it; without it their pods need an identity of their own"
            yield Finding(f"Secret {name}", True, "there is none, and need not be", advice=advice)
        else:
            mend = f"kubectl -n {place} create secret generic {name} --from-..., keys as its users' files say"
            yield Finding(f"Secret {name}", False, f"there is none, and {by} needs it", mend)


def _there(source: Source, kind: Kind, namespace: str, name: str) -> Document | None:
    if not kind.namespaced:
        return source.find(kind, "", name)
    return next((one for one in source.all(kind, namespace) if one["metadata"]["name"] == name), None)


def _now(source: Source, objects: Iterable[Object]) -> Iterator[tuple[Object, Document]]:
    """What is there of them; what cannot be read was told before."""
    for one in objects:
        try:
            found = _there(source, Kind.of(one), *metadata(one))
        except Unknown:
            continue
        if found is not None:
            yield one, found


def _not_ready(now: Document, condition: str) -> str:
    for one in now.get("status", {}).get("conditions") or ():
        if one["type"] == condition:
            reason = one.get("message") or one.get("reason") or "no reason is given"
            return "" if one["status"] == "True" else f"is not {condition.lower()}: {reason}"
    return "has no status: does its controller run?"


def _too_few(now: Document) -> str | None:
    """Of a StatefulSet; None for what has no state of being ready."""
    if now["kind"] != "StatefulSet":
        return None
    wanted, there = now["spec"].get("replicas", 1), now.get("status", {}).get("readyReplicas", 0)
    return "" if there >= wanted else f"{there} of {wanted} replicas are ready"


def _named_secrets(node: Any) -> Iterator[tuple[str, bool]]:
    """Every name of a Secret in an object, and whether it may be missing."""
    if isinstance(node, list):
        for one in node:
            yield from _named_secrets(one)
    if not isinstance(node, dict):
        return
    if node.get("kind") == "ConfigMap" and "auth.secret.ref.name" in (node.get("data") or {}):
        yield node["data"]["auth.secret.ref.name"], False
    for key, value in node.items():
        if key in _SECRETS and isinstance(value, dict):
            name = value.get(_SECRETS[key]) or value.get("name") or value.get("ref", {}).get("name")
            if name:
                yield name, bool(value.get("optional", False))
        elif node.get("kind") != "CustomResourceDefinition":
            yield from _named_secrets(value)
