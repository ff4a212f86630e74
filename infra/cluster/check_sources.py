"""Where the check looks: at a cluster, or at what `kubectl get ... -o yaml` wrote into files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson
import yaml

from homeostat.eventing.errors import Fault, Reject, shown

from .client import Document
from .kinds import SECRET, Kind, metadata
from .remote import METADATA, Api, Denied

Found = TypeVar("Found")


class Unknown(Exception):
    """It cannot be told, and what would help."""

    def __init__(self, what: str, found: str, mend: str) -> None:
        super().__init__(f"{what}: {found}")
        self.what, self.found, self.mend = what, found, mend


@dataclass(frozen=True)
class Right:
    """What somebody may do, or not; `resource` without its subresource."""

    verb: str
    group: str
    resource: str
    sub: str = ""
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        kind = f"{self.resource}.{self.group}" if self.group else self.resource
        return " ".join(filter(None, (self.verb, f"{kind}/{self.sub}" if self.sub else kind, self.name)))


class Live:
    """A cluster. What was read once is not read again: a check is of one moment."""

    is_live = True

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lists: dict[tuple[Kind, str], list[Document]] = {}
        self._single: dict[tuple[Kind, str, str], Document | None] = {}

    def version(self) -> str:
        return self._api.version()

    def find(self, kind: Kind, namespace: str, name: str) -> Document | None:
        key = (kind, namespace, name)
        if key not in self._single:
            self._single[key] = _told(lambda: self._api.get(kind, namespace, name))
        return self._single[key]

    def all(self, kind: Kind, namespace: str) -> list[Document]:
        key = (kind, namespace)
        if key not in self._lists:
            self._lists[key] = _told(lambda: self._api.list(kind, namespace))
        return self._lists[key]

    def has_secret(self, namespace: str, name: str) -> bool:
        return _told(lambda: self._api.get(SECRET, namespace, name, METADATA)) is not None

    def may(self, right: Right, user: str | None = None) -> bool:
        """Whether that user may; without one, whether we may. Raises Unknown where we may not ask."""
        kind = "SubjectAccessReview" if user else "SelfSubjectAccessReview"
        about = {
            "verb": right.verb,
            "group": right.group,
            "resource": right.resource,
            "subresource": right.sub,
            "namespace": right.namespace,
            "name": right.name,
        }
        spec = {"resourceAttributes": about, **({"user": user} if user else {})}
        review = Kind("authorization.k8s.io/v1", kind)
        body = {"apiVersion": review.api_version, "kind": kind, "metadata": {}, "spec": spec}
        answer = _told(lambda: self._api.create(review, body))
        if answer is None:
            raise Unknown(kind, "this API server answers none", "look at Roles and bindings by hand")
        return bool(answer["status"]["allowed"])


class Exported:
    """Files. What an export does not speak of is unknown, not missing."""

    is_live = False

    def __init__(self, paths: list[Path]) -> None:
        self._objects: dict[tuple[str, str, str, str], Document] = {}
        self._secrets: set[str] = set()
        self._version = ""
        for path in paths:
            for file in _files(path):
                self._read(file)

    def version(self) -> str:
        if not self._version:
            raise Unknown("Kubernetes", "not in the export", "add `kubectl version -o yaml`")
        return self._version

    def find(self, kind: Kind, namespace: str, name: str) -> Document | None:
        self._must_know(kind)
        return self._objects.get((kind.group, kind.kind, namespace if kind.namespaced else "", name))

    def all(self, kind: Kind, namespace: str) -> list[Document]:
        self._must_know(kind)
        head = (kind.group, kind.kind, namespace if kind.namespaced else "")
        return [one for key, one in self._objects.items() if key[:3] == head]

    def has_secret(self, namespace: str, name: str) -> bool:
        if not self._secrets:
            mend = f"add `kubectl get secrets -n {namespace} -o name`, as a file that ends in .txt"
            raise Unknown("Secrets", "not in the export", mend)
        return name in self._secrets

    def may(self, right: Right, user: str | None = None) -> bool:
        raise Unknown(f"the right to {right}", "an export answers no questions", "ask the cluster itself")

    def _must_know(self, kind: Kind) -> None:
        if not any(key[:2] == (kind.group, kind.kind) for key in self._objects):
            mend = f"there is none, or it was not exported: add `kubectl get {kind.resource} -A -o yaml`"
            raise Unknown(kind.resource, "none in the export", mend)

    def _read(self, file: Path) -> None:
        try:
            text = file.read_text("utf-8")
            if file.suffix == ".txt":
                self._secrets |= set(re.findall(r"^secret/(\S+)$", text, re.MULTILINE))
                return
            for one in [orjson.loads(text)] if file.suffix == ".json" else _yaml(text):
                self._take(one)
        except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
            mend = f"is no export of kubectl's in YAML or JSON: {' '.join(str(error).split())}"
            raise Reject(Fault("--offline", shown(str(file)), mend)) from None

    def _take(self, one: Any) -> None:
        if one is None:
            return
        if "serverVersion" in one:
            self._version = str(one["serverVersion"]["gitVersion"])
        elif "items" in one:
            for item in one["items"]:
                self._take(item)
        elif "metadata" in one:
            kind = Kind.of(one)
            namespace, name = metadata(one)
            if kind == SECRET:
                self._secrets.add(name)
            else:
                self._objects[kind.group, kind.kind, namespace, name] = one


Source = Live | Exported


def export(kinds: Iterable[Kind], namespace: str) -> Iterator[str]:
    """The kubectl calls that write what `Exported` reads; one for each kind, as kubectl gives up a call that
    names a kind which the cluster does not have. Of Secrets the names, which is all that is read of them."""
    yield "mkdir -p cluster"
    yield "kubectl version -o yaml > cluster/version.yaml"
    for kind in sorted(kinds, key=lambda one: one.resource):
        where = f" -n {namespace}" if kind.namespaced else ""
        yield f"kubectl get {kind.resource}{where} -o yaml > cluster/{kind.resource}.yaml"
    for plural in ("deployments", "endpointslices"):
        yield f"kubectl get {plural} -A -o yaml > cluster/all-{plural}.yaml"
    yield f"kubectl get secrets -n {namespace} -o name > cluster/secrets.txt"


def _yaml(text: str) -> Iterator[Any]:
    return yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(one for one in path.iterdir() if one.suffix in (".yaml", ".yml", ".json", ".txt"))
    else:
        yield path


def _told(ask: Callable[[], Found]) -> Found:
    try:
        return ask()
    except Denied as denied:
        raise Unknown(str(denied.asking), f"forbidden ({denied.text})", denied.mend) from None
