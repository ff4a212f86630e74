"""Kinds as the API server's paths name them, told from what a manifest says: plurals follow one rule here,
and the few kinds of ours that belong to no namespace are listed. A test holds both to the definitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

CLUSTER_WIDE = {
    "Namespace",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "ClusterServingRuntime",
    "ClusterTrainingRuntime",
}


@dataclass(frozen=True)
class Kind:
    api_version: str
    kind: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Kind:
        return cls(document["apiVersion"], document["kind"])

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        return self.api_version.rpartition("/")[2]

    @property
    def plural(self) -> str:
        name = self.kind.lower()
        if name.endswith("y"):
            return f"{name[:-1]}ies"
        return name if name.endswith("s") else f"{name}s"

    @property
    def resource(self) -> str:
        """As kubectl and a CRD's name have it: `brokers.eventing.knative.dev`, `secrets`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def namespaced(self) -> bool:
        return self.kind not in CLUSTER_WIDE

    @property
    def is_custom(self) -> bool:
        """Whether a CRD has to define it; groups of Kubernetes' own have no domain, or end in k8s.io."""
        return "." in self.group and not self.group.endswith(".k8s.io")

    def path(self, namespace: str = "", name: str = "") -> str:
        head = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        where = f"namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        return "/".join(filter(None, (head, where, self.plural, quote(name, safe=""))))


def metadata(document: Mapping[str, Any]) -> tuple[str, str]:
    """Namespace (empty for the cluster's) and name."""
    found = document["metadata"]
    return str(found.get("namespace", "")), str(found["name"])


BROKER = Kind("eventing.knative.dev/v1", "Broker")
CONFIG_MAP = Kind("v1", "ConfigMap")
CRD = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition")
DEPLOYMENT = Kind("apps/v1", "Deployment")
ENDPOINT_SLICE = Kind("discovery.k8s.io/v1", "EndpointSlice")
ENDPOINTS = Kind("v1", "Endpoints")
ROLE = Kind("rbac.authorization.k8s.io/v1", "Role")
ROLE_BINDING = Kind("rbac.authorization.k8s.io/v1", "RoleBinding")
SECRET = Kind("v1", "Secret")
