"""A cluster as a person asks it, from elsewhere: by a kubeconfig's context, every request with a timeout and
a few attempts, and in words that say which right is missing.

Executors have `client.Objects`, whose refusals are meant for whoever sent an event. Here a refusal is a
finding.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import orjson

from homeostat.eventing.errors import Fault, Reject, Retry, shown

from ..terminal import Unanswered
from .access import from_context
from .client import Document
from .errors import Asking, Patience, Refusal, document, tried, words
from .kinds import Kind

PATIENCE = Patience(attempts=3, first=0.25, longest=2.0)
FIELD_MANAGER = "homeostat"
UNTYPED = "failed to create typed patch object"
"""What server-side apply says of a field that it does not know, in an answer of 500."""

METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""A Secret's name and labels, without what is in it."""


class Unreachable(Unanswered):
    """The cluster does not answer, or does not let this user in."""


class Denied(Reject):
    """This user has no right to ask that."""

    def __init__(self, asking: Asking, text: str) -> None:
        self.asking, self.text = asking, text
        right = f"the right to {asking.verb} {asking.resource}"
        where = f" in {asking.namespace}" if asking.namespace else ""
        self.mend = f"ask for {right}{where}"
        super().__init__(Fault(right, f"missing ({text})", self.mend))


@contextlib.contextmanager
def connected(context: str | None) -> Iterator[httpx.Client]:
    """The API server of that context. Raises Reject for a kubeconfig that says nothing of it."""
    try:
        from kubernetes.config import ConfigException  # type: ignore[import-untyped]
    except ImportError:
        mend = "a kubeconfig is read by it: pip install 'homeostat[work]'"
        raise Reject(Fault("package kubernetes", "not installed", mend)) from None
    try:
        http = from_context(context, os.environ.get("KUBECONFIG"))
    except (ConfigException, OSError) as error:
        mend = f"{' '.join(str(error).split())}; `kubectl config get-contexts` lists those that there are"
        raise Reject(Fault("--context", shown(context), mend)) from None
    with http:
        yield http


class Api:
    """Thread-safe. Raises Denied, Unreachable, and Reject for what the server finds wrong."""

    def __init__(self, http: httpx.Client, patience: Patience = PATIENCE) -> None:
        self._http, self._patience = http, patience

    def version(self) -> str:
        found = self._ask(Asking("get", "/version"), "GET", "/version")
        return str((found or {}).get("gitVersion", ""))

    def get(self, kind: Kind, namespace: str, name: str, accept: str = "application/json") -> Document | None:
        """The object; None where there is none, or no such kind."""
        asking = Asking("get", kind.resource, name, namespace)
        return self._ask(asking, "GET", kind.path(namespace, name), headers={"accept": accept})

    def list(self, kind: Kind, namespace: str) -> list[Document]:
        """Those of a namespace; none where there is no such kind."""
        asking = Asking("list", kind.resource, "", namespace)
        found = self._ask(asking, "GET", kind.path(namespace)) or {}
        # The items of a list do not say what they are.
        return [{"apiVersion": kind.api_version, "kind": kind.kind, **one} for one in found.get("items", ())]

    def create(self, kind: Kind, new: Mapping[str, Any]) -> Document | None:
        """Reviews: answered, not stored. None where the server has no such kind."""
        return self._ask(Asking("create", kind.resource), "POST", kind.path(), new)

    def applied(self, wanted: Mapping[str, Any], manager: str = FIELD_MANAGER) -> Document | None:
        """What a server-side apply would make of it, strictly checked, and nothing is stored. None where
        there is no such kind, or no such namespace."""
        kind, namespace, name = Kind.of(wanted), wanted["metadata"].get("namespace", ""), ""
        name = wanted["metadata"]["name"]
        asking = Asking("patch", kind.resource, name, namespace)
        query = {"dryRun": "All", "fieldManager": manager, "fieldValidation": "Strict", "force": "true"}
        headers = {"content-type": "application/apply-patch+yaml"}
        path = kind.path(namespace, name)
        return self._ask(asking, "PATCH", path, wanted, query=query, headers=headers)

    def _ask(
        self,
        asking: Asking,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Document | None:
        content = None if body is None else orjson.dumps(body)
        sent = {"content-type": "application/json", **(headers or {})} if content else dict(headers or {})

        def call() -> Document | None:
            try:
                return document(self._http.request(method, path, params=query, content=content, headers=sent))
            except Refusal as refusal:
                if refusal.status == 404:
                    return None
                if refusal.status == 403:
                    raise Denied(asking, words(refusal)) from None
                if refusal.status == 401:
                    mend = "log in anew: the API server does not accept this context's user"
                    raise Unreachable(f"{mend} ({words(refusal)})") from None
                if UNTYPED in words(refusal):
                    raise Reject(Fault(asking.resource, f"refused in {asking}", words(refusal))) from None
                raise

        try:
            return tried(asking, call, self._patience)
        except Retry as failed:
            raise Unreachable(str(failed)) from None
