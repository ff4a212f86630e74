"""How an API server joins what is stored with what a PATCH says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.cluster.answers import Refused

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
