"""The Detector custom resource, rendered from its pydantic models: `python -m homeostat.infra.cluster.crd`.
A test holds the file fresh.

A CRD's schema is structural: no references, no unions of types, and closed without saying so, because
Kubernetes prunes (and kubectl refuses) what it does not name. What a validator of ours checks and a schema
cannot say is a CEL rule of `RULES`. There are no defaults: the models apply them on reading, one place, so
that a better default reaches Detectors that are stored already.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from homeostat.functions.detector import Status
from homeostat.functions.spec import Spec
from homeostat.models import ALGORITHMS, FAMILIES

from ..manifest import API_VERSION
from . import history
from .claims import FIELD, SCHEMA
from .structural import DURATION, structural

FOLDER = Path(__file__).parents[1] / "base" / "crds"
GROUP, VERSION = API_VERSION.split("/")
PLURAL = "detectors"


def _rule(rule: str, message: str) -> dict[str, Any]:
    return {"x-kubernetes-validations": [{"rule": rule, "message": message}]}


RULES: Mapping[str, Mapping[str, Any]] = {
    # Kubernetes itself sees to the letters, and to what stands first and last.
    "": _rule(
        "size(self.metadata.name) <= 42 && !self.metadata.name.contains('.')",
        "metadata.name: lower-case letters, digits and -, at most 42, such as pump-7",
    ),
    "spec.candidates[]": {"pattern": f"^({'|'.join(ALGORITHMS)}|({'|'.join(FAMILIES)})(:(.|\\n)*)?)$"},
    "spec.features.baseline": _rule(
        "self != 1", "the median of one row is the row itself: give 2 rows or more, or 0 for none"
    ),
    # That many steps there are; CEL's cost is reckoned from it.
    "spec.canary.steps": {
        "maxItems": 99,
        **_rule(
            "self.isSorted() && self.all(one, self.exists_one(other, other == one))",
            "steps must rise and lie between 1 and 99 percent, such as [5, 25, 50]",
        ),
    },
    "spec.canary.steps[]": {"minimum": 1, "maximum": 99},
}
"""What the fields' validators check, by their paths; `[]` are a list's items. A test finds the validators."""

PHASES = ("Waiting", "Tuning", "Training", "Judging", "Canary", "Serving")

ALSO: Mapping[str, Mapping[str, Any]] = {
    FIELD: SCHEMA,
    history.FIELD: history.SCHEMA,
    "phase": {
        "type": "string",
        "enum": list(PHASES),
        "description": "One word for people: what the detector is busy with.",
    },
    "last_drift": {
        "type": "string",
        "format": "date-time",
        "nullable": True,
        "description": "When drift was last reported, whichever revision served.",
    },
    "observedGeneration": {
        "type": "integer",
        "format": "int64",
        "description": "The spec that was acted on.",
    },
    "conditions": {
        "type": "array",
        "description": "What holds of the Detector now, as Kubernetes writes it.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {"type": "string", "maxLength": 316},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "reason": {"type": "string", "minLength": 1, "maxLength": 1024},
                "message": {"type": "string", "maxLength": 32768},
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "observedGeneration": {"type": "integer", "format": "int64"},
            },
        },
    },
}
"""Of the status, what is for the shell and Kubernetes' readers; decisions do not see it. Whoever stores a
status writes these beside it, and leaves them out when reading it back."""


def _column(name: str, path: str, kind: str = "string", wide: bool = False) -> dict[str, Any]:
    return {"name": name, "type": kind, "jsonPath": path, **({"priority": 1} if wide else {})}


COLUMNS = (
    _column("Phase", ".status.phase"),
    _column("Revision", ".status.serving.name"),
    _column("Canary %", ".status.canary.percent", "integer"),
    _column("Last Drift", ".status.last_drift", "date"),
    _column("Age", ".metadata.creationTimestamp", "date"),
    _column("Algorithm", ".status.serving.algorithm", wide=True),
    _column("Candidate", ".status.canary.revision.name", wide=True),
    _column("New Rows", ".status.new_rows", "integer", wide=True),
    _column("Message", ".status.message", wide=True),
)


def schema() -> dict[str, Any]:
    """The Detector's structural schema."""
    spec = structural(Spec.model_json_schema(mode="validation"))
    status = structural(Status.model_json_schema(mode="validation"))
    status["properties"] |= {name: dict(one) for name, one in ALSO.items()}
    # As far as the API server is concerned, nothing is known before the first event.
    status.pop("required", None)
    whole = {
        "description": "An anomaly detector that the loop keeps fit: what its owner asks for (spec), what has"
        " become of it (status).",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }
    for path, more in RULES.items():
        at(whole, path).update(more)
    return whole


def at(node: dict[str, Any], path: str) -> dict[str, Any]:
    """The schema at a path such as `spec.canary.steps[]`. Raises KeyError when there is none."""
    for step in filter(None, path.replace("[]", ".[]").split(".")):
        node = node["items"] if step == "[]" else node["properties"][step]
    return node


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition."""
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        # Status is written by compare-and-swap; a user's `kubectl apply` cannot touch it, nor it the spec.
        "subresources": {"status": {}},
        "additionalPrinterColumns": list(COLUMNS),
        "schema": {"openAPIV3Schema": schema()},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{PLURAL}.{GROUP}",
            "labels": {"app.kubernetes.io/name": "homeostat", "app.kubernetes.io/part-of": "homeostat"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": "Detector",
                "listKind": "DetectorList",
                "plural": PLURAL,
                "singular": "detector",
                "shortNames": ["det"],
                "categories": ["homeostat"],
            },
            "versions": [version],
        },
    }


class _Dumper(yaml.SafeDumper):
    """Writes what is shared out in full: Kubernetes takes aliases, readers do not."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def text() -> str:
    head = "# Rendered by `make compile` from functions/'s Spec and Status; edit those.\n"
    return head + yaml.dump(crd(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def render(folder: Path = FOLDER) -> None:
    """Write the CRD under its name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{PLURAL}.{GROUP}.yaml").write_text(text(), encoding="utf-8")


__all__ = ["ALSO", "COLUMNS", "DURATION", "FOLDER", "RULES", "at", "crd", "render", "schema", "text"]

if __name__ == "__main__":
    render()
