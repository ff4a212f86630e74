"""What a request to an API server asks for, read from its method and path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.cluster.answers import Refused
from tests.cluster.kinds import Kind, kinds


@dataclass(frozen=True)
class Call:
    """A request that came in, and how it was answered. `who` is a ServiceAccount's name, or `admin`."""

    who: str
    verb: str
    group: str
    resource: str
    name: str
    code: int


def parse(path: str) -> tuple[Kind, str, str, str]:
    """Kind, namespace, name and subresource. Raises Refused where there is no such kind."""
    parts = path.strip("/").split("/")
    core = parts[0] == "api"
    version, rest = ("v1", parts[2:]) if core else ("/".join(parts[1:3]), parts[3:])
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    kind = kinds().get((version, rest[0] if rest else ""))
    if kind is None:
        raise Refused(404, "NotFound", "the server could not find the requested resource")
    return kind, namespace, rest[1] if len(rest) > 1 else "", rest[2] if len(rest) > 2 else ""


def verb_of(method: str, name: str) -> str:
    """As RBAC and the audit name it."""
    one = {"GET": "get", "POST": "create", "PUT": "update"}.get(method, method.lower())
    return one if name else {"get": "list", "delete": "deletecollection"}.get(one, one)


def path_of(document: Mapping[str, Any], kind: Kind, sub: str = "", collection: bool = False) -> str:
    """Where an object lies, or those of its kind."""
    head = "/api/v1" if kind.api_version == "v1" else f"/apis/{kind.api_version}"
    namespace = f"namespaces/{namespace_of(kind, document)}" if kind.namespaced else ""
    name = "" if collection else document["metadata"]["name"]
    return "/".join(filter(None, (head, namespace, kind.plural, name, sub)))


def namespace_of(kind: Kind, document: Mapping[str, Any]) -> str:
    return str(document["metadata"].get("namespace", "default")) if kind.namespaced else ""
