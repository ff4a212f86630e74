"""Whether a cluster knows the kinds that an overlay and our executors use, in the versions that they use, and
with the fields that not every release has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from ..findings import Finding
from .check_parts import PARTS, PIPELINES, Part, part_of
from .check_sources import Source, Unknown
from .client import Document
from .crd import GROUP, PLURAL, crd
from .kinds import CRD, Kind
from .kustomized import Object

EXECUTED = {
    ("homeostat.dev", "detectors"): Kind("homeostat.dev/v1alpha1", "Detector"),
    ("kubeflow.org", "experiments"): Kind("kubeflow.org/v1beta1", "Experiment"),
    ("serving.kserve.io", "inferenceservices"): Kind("serving.kserve.io/v1beta1", "InferenceService"),
    ("trainer.kubeflow.org", "trainjobs"): Kind("trainer.kubeflow.org/v1alpha1", "TrainJob"),
}
"""What executors write, by the rights that an overlay gives for it."""

FIELDS = {
    ("inferenceservices.serving.kserve.io", "standard"): "spec.canary",
    ("inferenceservices.serving.kserve.io", "knative"): "spec.predictor.canaryTrafficPercent",
}
"""By CRD and HOMEOSTAT_SERVING_MODE: by which field a canary is given its share."""

_APPLY = "homeostat cluster render | kubectl apply --server-side -f -"


def wanted(objects: Sequence[Object]) -> list[Kind]:
    """Kinds that a CRD has to define."""
    found = {Kind.of(one) for one in objects}
    found |= {kind for right, kind in EXECUTED.items() if right in _rights(objects)}
    found |= {Kind.of(one) for one in _channels(objects)}
    return sorted((one for one in found if one.is_custom), key=lambda one: (one.resource, one.version))


def needed(objects: Sequence[Object], settings: Mapping[str, str]) -> list[Part]:
    """The parts that bring those kinds, and Kubeflow Pipelines where the settings name it."""
    brought = {part_of(one.resource) for one in wanted(objects)}
    return [
        *(part for part in PARTS if part in brought),
        *([PIPELINES] if settings.get("HOMEOSTAT_PIPELINES_URL") else []),
    ]


def kinds(source: Source, objects: Sequence[Object], mode: str) -> Iterator[Finding]:
    for kind in wanted(objects):
        try:
            definition = source.find(CRD, "", kind.resource)
        except Unknown as unknown:
            yield Finding(f"{kind.resource} {kind.version}", False, unknown.found, unknown.mend)
        else:
            yield from _defined(kind, definition, mode)


def _defined(kind: Kind, definition: Document | None, mode: str) -> Iterator[Finding]:
    what, part = f"{kind.resource} {kind.version}", part_of(kind.resource)
    install = f"install {part.name} {part.meant}: {part.install}" if part else _APPLY
    if definition is None:
        yield Finding(what, False, "there is no such CRD", install)
        return
    served = {one["name"]: one for one in definition["spec"]["versions"] if one.get("served")}
    if kind.version not in served:
        yield Finding(what, False, f"served are {', '.join(served) or 'none'}", install)
        return
    conditions = {one["type"]: one for one in definition.get("status", {}).get("conditions") or ()}
    established = conditions.get("Established", {"status": "True"})
    if established["status"] != "True":
        yield Finding(what, False, f"is not established: {established.get('message', '')}", install)
        return
    yield Finding(what, True, "served")
    field = FIELDS.get((kind.resource, mode))
    if field:
        there = _has(served[kind.version]["schema"]["openAPIV3Schema"], field)
        mend = "" if there else install
        yield Finding(f"{kind.resource} {field}", there, "there" if there else "no such field", mend)


def ours(source: Source) -> Iterator[Finding]:
    """Our own CRD is this release's."""
    name = f"{PLURAL}.{GROUP}"
    found = source.find(CRD, "", name)
    if found is None:
        return  # told among the kinds
    differing = sorted(set(_differing(crd()["spec"], found["spec"], "spec")))
    if not differing:
        yield Finding(f"{name} as of this release", True, "the same")
        return
    more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
    yield Finding(
        f"{name} as of this release", False, f"{', '.join(differing[:3])}{more} differ", f"apply it: {_APPLY}"
    )


def _rights(objects: Iterable[Object]) -> set[tuple[str, str]]:
    return {
        (group, resource.partition("/")[0])
        for one in objects
        if one["kind"] == "Role"
        for rule in one["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def _channels(objects: Iterable[Object]) -> Iterator[Any]:
    """What a channel-based broker keeps its events in."""
    for one in objects:
        if one["kind"] == "ConfigMap" and "channel-template-spec" in one["data"]:
            yield yaml.safe_load(one["data"]["channel-template-spec"])


def _has(schema: Mapping[str, Any], path: str) -> bool:
    for step in path.split("."):
        if step not in schema.get("properties", {}):
            return False
        schema = schema["properties"][step]
    return True


def _differing(ours: Any, theirs: Any, path: str) -> Iterator[str]:
    """Paths where theirs is not ours. An API server adds names and conversion, but nothing to a schema."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        added = set(theirs) - set(ours) if ".schema" in path else set()
        for key in sorted({*ours, *added}):
            yield from _differing(ours.get(key), theirs.get(key), f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for at, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _differing(one, other, f"{path}[{at}]")
    elif ours != theirs:
        yield path
