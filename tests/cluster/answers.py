"""What an API server answers to what it refuses: Kubernetes' Status, word for word where code reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.cluster.kinds import by_kind, wrong
from tests.cluster.rights import Account, Asked

Key = tuple[str, str, str, str]
"""apiVersion, plural, namespace (empty for the cluster's), name."""


class Refused(Exception):
    """Ends a request with Kubernetes' Status."""

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code, self.headers = code, details.pop("headers", {})
        self.status = {
            "apiVersion": "v1",
            "kind": "Status",
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
            "details": details,
        }


def check(document: Mapping[str, Any]) -> None:
    """Raises Refused for what its schema does not take. Definitions are taken as they are: they are
    megabytes, and what they declare is known anyway."""
    if document.get("kind") == "CustomResourceDefinition":
        return
    if (document.get("apiVersion"), document.get("kind")) not in by_kind():
        raise Refused(404, "NotFound", "the server could not find the requested resource")
    found = wrong(document)
    if any(one.unknown for one in found):
        text = ", ".join(f'unknown field "{one.path}": {one.message}' for one in found if one.unknown)
        raise Refused(400, "BadRequest", f"strict decoding error: {text}")
    if found:
        causes = [{"field": one.path, "message": one.message, "reason": "FieldValueInvalid"} for one in found]
        text = "; ".join(f"{one.path}: {one.message}" for one in found)
        raise Refused(422, "Invalid", f"{document['kind']} is invalid: {text}", causes=causes)


def forbidden(account: Account, asked: Asked) -> Refused:
    text = (
        f'{asked.resource.partition("/")[0]}.{asked.group} "{asked.name}" is forbidden: User "{account.user}"'
        f' cannot {asked.verb} resource "{asked.resource}" in API group "{asked.group}"'
        f' in the namespace "{asked.namespace}"'
    )
    return Refused(403, "Forbidden", text, name=asked.name, group=asked.group, kind=asked.resource)


def missing(key: Key) -> Refused:
    text = f'{key[1]}.{key[0].rpartition("/")[0]} "{key[3]}" not found'
    return Refused(404, "NotFound", text, name=key[3], kind=key[1])


def exists(key: Key) -> Refused:
    text = f'{key[1]}.{key[0].rpartition("/")[0]} "{key[3]}" already exists'
    return Refused(409, "AlreadyExists", text, name=key[3], kind=key[1])


def modified(key: Key) -> Refused:
    text = (
        f'Operation cannot be fulfilled on {key[1]} "{key[3]}": the object has been modified;'
        " please apply your changes to the latest version and try again"
    )
    return Refused(409, "Conflict", text, name=key[3], kind=key[1])
