"""The InferenceService of a Detector, in the parts that both of KServe's modes share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from homeostat.eventing.errors import Fault, shown
from homeostat.functions.detector import Revision

from .client import INFERENCE_SERVICES, Document

RUNTIME = "homeostat"
CONTAINER = "kserve-container"
"""What KServe calls a predictor's container. A canary's has to be named (field notes 3), and so the stable
one's is, that a promotion finds no difference and restarts nothing."""

MODE = "serving.kserve.io/deploymentMode"
STOP = "serving.kserve.io/stop"
REVISION = "homeostat.dev/revision"
REVISION_VARIABLE = "HOMEOSTAT_REVISION"
"""By this a predictor knows its revision: the label of all its metrics, on which canaries are judged."""
STABLE = "homeostat.dev/stable"
STABLE_REVISION = "homeostat.dev/stable-revision"
BEFORE = "homeostat.dev/revision-before"
"""Knative's newest revision when the template was last changed: while it is still the newest, ours is not
there."""

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LABEL = 63


@dataclass(frozen=True)
class Options:
    """How this cluster serves. `sink` is the broker's address for the payload log."""

    mode: Literal["knative", "standard"]
    sink: str = ""
    service_account: str = ""


@dataclass(frozen=True)
class Desired:
    """What a Detector should serve; `percent` is the canary's share beside a stable one."""

    detector: str
    stable: Revision | None
    canary: Revision | None
    percent: int

    def faults(self) -> Iterator[Fault]:
        """What KServe's webhook would refuse."""
        if not _NAME.fullmatch(self.detector):
            yield Fault("detector", shown(self.detector), "KServe's names begin with a letter; name it anew")
        for one in filter(None, (self.stable, self.canary)):
            name = short(self.detector, one)
            if not _NAME.fullmatch(name) or len(f"{self.detector}-{name}-predictor") > _LABEL:
                yield Fault("revision", shown(one.name), "is too long, or no name of Kubernetes' kind")
        if not 0 <= self.percent <= 100:
            yield Fault("percent", shown(self.percent), "lies between 0 and 100")


@dataclass(frozen=True)
class Step:
    """A merge patch, or the whole object where there is none; None: nothing to write. `waits`: what for."""

    document: Document | None
    waits: str = ""


def short(detector: str, revision: Revision) -> str:
    """The revision's name beside its Detector's, which KServe puts before it: the two fit into 63
    characters. It begins with a letter, as KServe wants it: runs are called by hexadecimal figures."""
    name = revision.name.removeprefix(f"{detector}-")
    return f"r{name}" if name[:1].isdigit() else name


def predictor(revision: Revision, options: Options) -> dict[str, Any]:
    """The same for a canary and for what it becomes."""
    found: dict[str, Any] = {
        # A cold start is a canary's first failure, and payloads that nobody answers (kserve#2882, #1805).
        "minReplicas": 1,
        "annotations": {REVISION: revision.name},
        "model": {
            "name": CONTAINER,
            "modelFormat": {"name": RUNTIME},
            "runtime": RUNTIME,
            "protocolVersion": "v2",
            "storageUri": revision.uri,
            "env": [{"name": REVISION_VARIABLE, "value": revision.name}],
        },
    }
    if options.sink:
        found["logger"] = {"mode": "all", "url": options.sink}
    if options.service_account:
        found["serviceAccountName"] = options.service_account
    return found


def begin(patch: Mapping[str, Any], waits: str = "") -> Step:
    """The first of an object, or of one that was stopped."""
    return Step(both_patches(patch, {"metadata": {"annotations": {STOP: None}}}), waits)


def both_patches(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Both patches in one: null stays, as it removes."""
    found = dict(one)
    for key, value in other.items():
        old = found.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        found[key] = both_patches(old, value) if both else value  # type: ignore[arg-type]
    return found


def change(now: Document, patch: Mapping[str, Any]) -> Step:
    """The patch, unless all that it says is so already."""
    return Step(None) if merged(now, patch) == now else Step(patch)


def whole(desired: Desired, patch: Mapping[str, Any], options: Options, owner: Mapping[str, Any]) -> Document:
    """The object that a first step creates. It goes when its Detector goes."""
    head = {
        "apiVersion": INFERENCE_SERVICES.api_version,
        "kind": INFERENCE_SERVICES.kind,
        "metadata": {
            "name": desired.detector,
            "labels": {
                "app.kubernetes.io/managed-by": "homeostat",
                "app.kubernetes.io/part-of": "homeostat",
            },
            "annotations": {MODE: options.mode.capitalize()},
            "ownerReferences": [dict(owner)],
        },
    }
    found: Document = merged(head, patch)
    return found


def merged(old: Any, patch: Any) -> Any:
    """A JSON merge patch, applied (RFC 7396)."""
    if not isinstance(patch, Mapping):
        return patch
    kept = dict(old) if isinstance(old, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = merged(kept.get(key), value)
    return kept


def stopped(now: Document) -> bool:
    return annotation(now, STOP) == "true"


def annotation(now: Document, name: str) -> str:
    return str((now["metadata"].get("annotations") or {}).get(name, ""))


def uri_of(now: Document) -> str:
    return str((now["spec"]["predictor"].get("model") or {}).get("storageUri", ""))


def predictor_status(now: Document) -> Mapping[str, Any]:
    found: Mapping[str, Any] = now.get("status", {}).get("components", {}).get("predictor", {})
    return found
