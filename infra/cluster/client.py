"""Custom resources of one namespace, with the manners of `errors.py`.

Writes are validated strictly: a field that the cluster's version of a CRD does not know is refused, not
dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from .errors import Asking, Patience, Refusal, document, names_an_object, tried

Document = Mapping[str, Any]
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""What Kubernetes takes; others, such as `..`, would lead to another path."""

_WRITING = {"fieldValidation": "Strict", "fieldManager": "homeostat"}


@dataclass(frozen=True)
class Resource:
    """A kind, as paths name it."""

    group: str
    version: str
    kind: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def path(self) -> str:
        """Kubernetes' own first kinds have no group, and lie apart."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"


DETECTORS = Resource("homeostat.dev", "v1alpha1", "Detector", "detectors")
EXPERIMENTS = Resource("kubeflow.org", "v1beta1", "Experiment", "experiments")
POD_TEMPLATES = Resource("", "v1", "PodTemplate", "podtemplates")
INFERENCE_SERVICES = Resource("serving.kserve.io", "v1beta1", "InferenceService", "inferenceservices")


class Objects:
    """Thread-safe. Every method raises Retry or Reject as `errors.tried` does."""

    def __init__(self, http: httpx.Client, namespace: str, patience: Patience | None = None) -> None:
        self.namespace = namespace
        self._http, self._patience = http, patience

    def get(self, resource: Resource, name: str) -> Document | None:
        """The object; None when there is none of that name, or can be none: names come from events."""
        if not _NAME.fullmatch(name):
            return None

        def call() -> Document | None:
            try:
                return document(self._http.get(self._path(resource, name)))
            except Refusal as refusal:
                if refusal.status == 404 and names_an_object(refusal):
                    return None
                raise

        return tried(self._asking("get", resource, name), call, self._patience)

    def list(self, resource: Resource) -> list[Document]:
        def call() -> list[Document]:
            return list(document(self._http.get(self._path(resource)))["items"])

        return tried(self._asking("list", resource), call, self._patience)

    def create(self, resource: Resource, new: Document) -> Document:
        """Raises Conflict when there is one of that name."""
        asking = self._asking("create", resource, new["metadata"]["name"])
        return self._write(asking, "POST", self._path(resource), new)

    def replace(self, resource: Resource, name: str, new: Document, sub: str = "") -> Document:
        """Replace the object, or its status, at the resourceVersion that it carries. Raises Conflict."""
        return self._write(
            self._asking("update", resource, name, sub), "PUT", self._path(resource, name, sub), new
        )

    def patch(self, resource: Resource, name: str, change: Document) -> Document:
        """Merge the change into the object; null removes. Raises Conflict at another resourceVersion."""
        asking = self._asking("patch", resource, name)
        return self._write(
            asking, "PATCH", self._path(resource, name), change, "application/merge-patch+json"
        )

    def _write(
        self, asking: Asking, method: str, path: str, body: Document, kind: str = "application/json"
    ) -> Document:
        content, headers = orjson.dumps(body), {"content-type": kind}

        def call() -> Document:
            return document(
                self._http.request(method, path, params=_WRITING, content=content, headers=headers)
            )

        return tried(asking, call, self._patience)

    def _asking(self, verb: str, resource: Resource, name: str = "", sub: str = "") -> Asking:
        plural = f"{resource.plural}/{sub}" if sub else resource.plural
        whole = f"{plural}.{resource.group}" if resource.group else plural
        return Asking(verb, whole, name, self.namespace)

    def _path(self, resource: Resource, name: str = "", sub: str = "") -> str:
        head = f"{resource.path}/namespaces/{self.namespace}/{resource.plural}"
        return "/".join(filter(None, (head, quote(name, safe=""), sub)))
