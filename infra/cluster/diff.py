"""What applying an overlay would change, in the words of the API server: each object is applied on its side
with dryRun=All and strict validation, and what came of it is laid beside what is there."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from homeostat.eventing.errors import Reject

from .errors import Conflict
from .kinds import Kind, metadata
from .kustomized import Object
from .remote import FIELD_MANAGER, Api
from .render import text

LEFT_OUT = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid", "selfLink")
"""Metadata that the API server writes."""


@dataclass(frozen=True)
class Change:
    """`lines` are a unified diff; `error` says why there is none."""

    name: str
    change: Literal["none", "create", "change", "error"]
    lines: str = ""
    error: str = ""

    def document(self) -> dict[str, str]:
        return {"object": self.name, "change": self.change, "diff": self.lines, "error": self.error}


def changes(api: Api, objects: Sequence[Object], manager: str = FIELD_MANAGER) -> Iterator[Change]:
    """One for each object, in their order. Raises Unreachable."""
    for one in objects:
        name = _name(one)
        try:
            yield _change(api, one, name, manager)
        except (Reject, Conflict) as rejected:
            yield Change(name, "error", error=str(rejected))


def _change(api: Api, one: Object, name: str, manager: str) -> Change:
    live = api.get(Kind.of(one), *metadata(one))
    merged = api.applied(one, manager)
    if merged is None and live is not None:
        return Change(name, "error", error="went while it was looked at; ask again")
    # Neither its kind nor its namespace need be there yet: the same rendering brings them, unchecked.
    lines = _lines(live, merged or one, name)
    return Change(name, ("change" if live else "create") if lines else "none", lines)


def _lines(live: Mapping[str, Any] | None, merged: Mapping[str, Any], name: str) -> str:
    before = text([_said(live)]).splitlines(keepends=True) if live else []
    after = text([_said(merged)]).splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, f"live/{name}", f"merged/{name}"))


def _said(document: Mapping[str, Any]) -> dict[str, Any]:
    """The object without what the cluster writes about it, in one order of its fields."""
    kept = {key: value for key, value in document.items() if key != "status"}
    kept["metadata"] = {key: value for key, value in document["metadata"].items() if key not in LEFT_OUT}
    ordered: dict[str, Any] = _sorted(kept)
    return ordered


def _sorted(node: Any) -> Any:
    if isinstance(node, list):
        return [_sorted(one) for one in node]
    return {key: _sorted(node[key]) for key in sorted(node)} if isinstance(node, dict) else node


def _name(one: Object) -> str:
    """As `kubectl diff` calls its files."""
    kind, (namespace, name) = Kind.of(one), metadata(one)
    return ".".join(filter(None, (kind.group, kind.version, kind.kind, namespace, name)))
