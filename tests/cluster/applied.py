"""How an API server joins what is stored with what a PATCH says."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import yaml

from tests.cluster.answers import Refused

ETCD_BYTES = 1_500_000
"""etcd takes requests of 1.5 MiB, and the API server adds its own."""
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


def merged(old: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7396): null removes."""
    if not isinstance(patch, dict):
        return patch
    kept = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = merged(kept.get(key), value)
    return kept


def applied(old: Any, wanted: Any) -> Any:
    """Server-side apply by force: what is wanted over what is there. Lists are replaced: who owns which of
    their items is not kept here, nor are fields taken away that the same manager applied before and no
    longer names; a real API server does both."""
    if not isinstance(wanted, dict) or not isinstance(old, dict):
        return wanted
    return {**old, **{key: applied(old.get(key), value) for key, value in wanted.items()}}


_JOINS: Mapping[str, Callable[[Any, Any], Any]] = {MERGE: merged, APPLY: applied}


def joining(query: Mapping[str, str]) -> Callable[[Any, Any], Any]:
    """How the PATCH of that content type (`type`) joins. Raises Refused as an API server does."""
    join = _JOINS.get(query["type"])
    if join is None:
        raise Refused(415, "UnsupportedMediaType", f"the body of the request was of {query['type']}")
    if join is applied and not query.get("fieldManager"):
        text = (
            "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value: is required for apply patch"
        )
        raise Refused(422, "Invalid", text)
    return join


def read(body: bytes, kind: str) -> dict[str, Any]:
    """A request's body by its content type; what is applied may be YAML. Raises Refused for a large one."""
    if len(body) > 2 * ETCD_BYTES:
        raise Refused(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")
    if kind == APPLY and body[:1] != b"{":
        return dict(yaml.safe_load(body))
    return dict(orjson.loads(body or b"{}"))


_WRITTEN = ("namespace", "uid", "creationTimestamp", "generation", "resourceVersion")
"""What the API server writes into metadata."""


def without(document: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in names}


def same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether nothing is to be written."""
    said = [{**one, "metadata": without(one["metadata"], *_WRITTEN)} for one in (old, new)]
    return said[0] == said[1]


def stamped(
    new: Mapping[str, Any], old: Mapping[str, Any] | None, namespace: str, version: int
) -> dict[str, Any]:
    """The new document's metadata with what the API server writes there."""
    before: Mapping[str, Any] = old["metadata"] if old else {}
    changed = old is None or without(old, "status", "metadata") != without(new, "status", "metadata")
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        **new["metadata"],
        **({"namespace": namespace} if namespace else {}),
        "uid": before.get("uid", str(uuid.uuid4())),
        "creationTimestamp": before.get("creationTimestamp", now),
        "generation": before.get("generation", 0) + changed,
        "resourceVersion": str(version),
    }
