"""Custom resources of one namespace through the `kubernetes` package, with the manners of `errors.py`.

Writes are validated strictly: a field that the cluster's version of a CRD does not know is refused, not
dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from .errors import SECONDS, Asking, Patience, names_an_object, tried

Document = Mapping[str, Any]
Found = TypeVar("Found")


@dataclass(frozen=True)
class Resource:
    """A kind, as paths name it."""

    group: str
    version: str
    kind: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}"


DETECTORS = Resource("homeostat.dev", "v1alpha1", "Detector", "detectors")
INFERENCE_SERVICES = Resource("serving.kserve.io", "v1beta1", "InferenceService", "inferenceservices")


def connect(context: str | None = None) -> Any:
    """An API client of the cluster that this pod runs in, whose token is read anew when it was renewed; with
    a context, or outside a cluster, of the kubeconfig."""
    from kubernetes import client, config  # type: ignore[import-untyped]

    found = client.Configuration()
    try:
        if context is not None:
            raise config.ConfigException
        config.load_incluster_config(found)
    except config.ConfigException:
        config.load_kube_config(context=context, client_configuration=found)
    return bound(found)


def bound(configuration: Any) -> Any:
    """An API client of this configuration. urllib3's own retries, without a pause, are switched off."""
    from kubernetes import client

    configuration.retries = False
    return client.ApiClient(configuration)


class Objects:
    """Thread-safe. Every method raises Retry or Reject as `errors.tried` does."""

    def __init__(self, api: Any, namespace: str, patience: Patience | None = None) -> None:
        from kubernetes.client import (  # type: ignore[import-untyped]
            ApiException,
            CustomObjectsApi,
        )

        self.namespace = namespace
        self._api, self._refusal, self._patience = CustomObjectsApi(api), ApiException, patience

    def get(self, resource: Resource, name: str) -> Document | None:
        """The object; None when there is none of that name."""

        def call() -> Document | None:
            try:
                found: Document = self._api.get_namespaced_custom_object(
                    *self._path(resource), name, _request_timeout=SECONDS
                )
            except self._refusal as error:
                if error.status == 404 and names_an_object(error):
                    return None
                raise
            return found

        return self._tried("get", resource, name, "", call)

    def list(self, resource: Resource) -> list[Document]:
        def call() -> list[Document]:
            found: Document = self._api.list_namespaced_custom_object(
                *self._path(resource), _request_timeout=SECONDS
            )
            return list(found["items"])

        return self._tried("list", resource, "", "", call)

    def create(self, resource: Resource, document: Document) -> Document:
        """Raises Conflict when there is one of that name."""
        name = document["metadata"]["name"]
        return self._write("create", resource, name, document)

    def replace(self, resource: Resource, name: str, document: Document, sub: str = "") -> Document:
        """Replace the object, or its status, at the resourceVersion that the document carries. Raises
        Conflict."""
        return self._write("update", resource, name, document, sub)

    def patch(self, resource: Resource, name: str, document: Document) -> Document:
        """Merge the document into the object; null removes. Raises Conflict at another resourceVersion."""
        return self._write("patch", resource, name, document)

    def _write(self, verb: str, resource: Resource, name: str, document: Document, sub: str = "") -> Document:
        ways: Mapping[tuple[str, str], Callable[..., Any]] = {
            ("create", ""): self._api.create_namespaced_custom_object,
            ("update", ""): self._api.replace_namespaced_custom_object,
            ("update", "status"): self._api.replace_namespaced_custom_object_status,
            ("patch", ""): self._api.patch_namespaced_custom_object,
        }
        way = ways[verb, sub]
        named = () if verb == "create" else (name,)
        strict = {"field_validation": "Strict", "_request_timeout": SECONDS}

        def call() -> Document:
            found: Document = way(*self._path(resource), *named, document, **strict)
            return found

        return self._tried(verb, resource, name, sub, call)

    def _tried(self, verb: str, resource: Resource, name: str, sub: str, call: Callable[[], Found]) -> Found:
        plural = f"{resource.plural}/{sub}" if sub else resource.plural
        asking = Asking(verb, f"{plural}.{resource.group}", name, self.namespace)
        return tried(asking, call, self._refusal, self._patience)

    def _path(self, resource: Resource) -> tuple[str, str, str, str]:
        return resource.group, resource.version, self.namespace, resource.plural
