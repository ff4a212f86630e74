"""The tests' API server over a real one: what `api_server.ApiServer` does in this process, over HTTP."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from homeostat.infra.cluster.access import Bearer
from homeostat.infra.cluster.crd import crd
from tests.cluster.asked import Call, path_of
from tests.cluster.audit import calls_in
from tests.cluster.kinds import Kind, by_kind, vendors
from tests.cluster.kube_apiserver_process import Processes
from tests.cluster.sending import apply, said_yes

NAMESPACE = "homeostat"
LEFT = (
    *("Detector", "InferenceService", "Experiment", "TrainJob"),
    *("ServiceAccount", "Role", "RoleBinding", "PodTemplate"),
)
"""What tests leave behind in our namespace."""


class KubeApiServer:
    def __init__(self, processes: Processes) -> None:
        self._processes, self._from = processes, 0
        self.url, self.admin, self.authority = processes.url, processes.admin, processes.authority
        self._http = self.http(self.admin)

    # --- the same as in this process ---------------------------------------------------------------------
    def http(self, token: str | Callable[[], str]) -> httpx.Client:
        auth = Bearer(token if callable(token) else lambda: token)
        return httpx.Client(base_url=self.url, auth=auth, verify=self._processes.trusted, timeout=30)

    def token(self, namespace: str, name: str) -> str:
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace},
        }
        if self._read(by_kind()["v1", "ServiceAccount"], account) is None:
            self.put(account)
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        return str(said_yes(self._http.post(path, json=asked))["status"]["token"])

    def put(self, *documents: Mapping[str, Any]) -> None:
        for one in documents:
            kind = by_kind()[one["apiVersion"], one["kind"]]
            stored = self._put(kind, copy.deepcopy(dict(one)))
            if kind.has_status and "status" in one and stored.get("status") != one["status"]:
                path = path_of(one, kind, "status")
                said_yes(self._http.put(path, json={**stored, "status": one["status"]}, params=_STRICT))
        for one in documents:
            if one["kind"] == "RoleBinding":
                self._until_known(one)

    def _put(self, kind: Kind, new: dict[str, Any]) -> dict[str, Any]:
        """Create it, or replace what is there, whatever its version."""
        old = self._read(kind, new)
        own = ("status",) if kind.has_status else ()
        body = {key: value for key, value in new.items() if key not in own}
        if old is None:
            return said_yes(self._http.post(path_of(new, kind, collection=True), json=body, params=_STRICT))
        same = all(old.get(key) == value for key, value in body.items() if key != "metadata")
        wanted = ("labels", "annotations", "ownerReferences")
        if same and all(old["metadata"].get(one) == new["metadata"].get(one) for one in wanted):
            return old
        body["metadata"] = {**new["metadata"], "resourceVersion": old["metadata"]["resourceVersion"]}
        return said_yes(self._http.put(path_of(new, kind), json=body, params=_STRICT))

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        for one in by_kind().values():
            if one.kind == kind and name:
                found = self._read(one, {"metadata": {"name": name, "namespace": NAMESPACE}})
                if found is not None:
                    return found
        return None

    def remove(self, kind: str, name: str) -> None:
        for one in by_kind().values():
            if one.kind == kind:
                self._http.delete(path_of({"metadata": {"name": name, "namespace": NAMESPACE}}, one))

    @property
    def calls(self) -> list[Call]:
        return list(calls_in(self._processes.audit, self._from))

    def forget(self) -> None:
        self._from = self._processes.audit.stat().st_size

    def said(self, who: str) -> list[tuple[str, str, str, int]]:
        return [(one.verb, one.resource, one.name, one.code) for one in self.calls if one.who == who]

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Stopped, and started again."""
        self._processes.stop_api()
        yield
        self._processes.start_api()

    # --- a cluster for tests ------------------------------------------------------------------------------
    def install(self) -> None:
        """Our namespace and every definition, all of them served."""
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        definitions = [_without_webhook(one) for one in (*vendors(), crd())]
        apply(self._http, namespace, *definitions)
        for one in definitions:
            self._until_served(one)

    def clear(self) -> None:
        for kind in by_kind().values():
            if kind.kind in LEFT and kind.namespaced:
                path = path_of({"metadata": {"namespace": NAMESPACE}}, kind, collection=True)
                said_yes(self._http.delete(path))
        self.forget()

    def _read(self, kind: Kind, one: Mapping[str, Any]) -> dict[str, Any] | None:
        answer = self._http.get(path_of(one, kind))
        return None if answer.status_code == 404 else said_yes(answer)

    def _until_served(self, definition: Mapping[str, Any]) -> None:
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{definition['metadata']['name']}"
        for _ in range(200):
            conditions = said_yes(self._http.get(path)).get("status", {}).get("conditions") or ()
            if any((one["type"], one["status"]) == ("Established", "True") for one in conditions):
                return
            time.sleep(0.05)
        raise AssertionError(f"{path} is not established: {conditions}")

    def _until_known(self, binding: Mapping[str, Any]) -> None:
        """The authoriser follows what is stored, a moment later."""
        role = self.get(binding["roleRef"]["kind"], binding["roleRef"]["name"])
        subject = binding["subjects"][0]
        user = f"system:serviceaccount:{subject['namespace']}:{subject['name']}"
        for rule in (role or {}).get("rules") or ():
            for _ in range(200):
                if self._allows(user, rule):
                    break
                time.sleep(0.02)

    def _allows(self, user: str, rule: Mapping[str, Any]) -> bool:
        resource, _, sub = rule["resources"][-1].partition("/")
        about = {"namespace": NAMESPACE, "verb": rule["verbs"][-1], "group": rule["apiGroups"][-1]}
        about |= {"resource": resource, "subresource": sub, "name": (rule.get("resourceNames") or [""])[0]}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": about},
        }
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return bool(said_yes(self._http.post(path, json=review))["status"]["allowed"])


def _without_webhook(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Whoever turns one version into another runs in a cluster, which this is not."""
    spec = {key: value for key, value in definition["spec"].items() if key != "conversion"}
    return {**definition, "spec": spec}


_STRICT = {"fieldValidation": "Strict", "fieldManager": "tests"}


@contextlib.contextmanager
def running(binaries: Path, folder: Path) -> Iterator[KubeApiServer]:
    """A real one with every definition installed, until the block ends."""
    processes = Processes(binaries, folder)
    try:
        processes.start()
        server = KubeApiServer(processes)
        server.install()
        yield server
    finally:
        processes.stop()
