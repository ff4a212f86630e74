"""Trigger filters (Knative's `spec.filters`, CloudEvents Subscriptions API §3.2.4): all of a list must hold.

`cesql` is the one dialect that is not here yet; a manifest that uses it is refused, not ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import Fault, Reject, shown

Attributes = Mapping[str, str]
Filter = Callable[[Attributes], bool]

_COMPARE: Mapping[str, Callable[[str, str], bool]] = {
    "exact": lambda found, wanted: found == wanted,
    "prefix": lambda found, wanted: found.startswith(wanted),
    "suffix": lambda found, wanted: found.endswith(wanted),
}
DIALECTS = (*_COMPARE, "all", "any", "not")


def compile_filters(spec: Mapping[str, Any], where: str) -> Filter:
    """The filter of a Trigger's spec; no filter lets everything pass. Raises Reject naming the field."""
    if spec.get("filters"):
        return _all(spec["filters"], where)
    attributes = (spec.get("filter") or {}).get("attributes") or {}
    return _comparing("exact", {name: value for name, value in attributes.items() if value}, where)


def _compile(document: Any, where: str) -> Filter:
    if not isinstance(document, dict) or len(document) != 1:
        raise Reject(Fault(where, shown(document), f"write one dialect per filter: {', '.join(DIALECTS)}"))
    ((dialect, body),) = document.items()
    where = f"{where}.{dialect}"
    if dialect in _COMPARE:
        return _comparing(dialect, body, where)
    if dialect == "all":
        return _all(body, where)
    if dialect == "any":
        anyone = _many(body, where)
        return lambda attributes: any(one(attributes) for one in anyone)
    if dialect == "not":
        negated = _compile(body, where)
        return lambda attributes: not negated(attributes)
    raise Reject(Fault(where, shown(body), f"dialects here: {', '.join(DIALECTS)}"))


def _all(body: Any, where: str) -> Filter:
    everyone = _many(body, where)
    return lambda attributes: all(one(attributes) for one in everyone)


def _many(body: Any, where: str) -> list[Filter]:
    if not isinstance(body, list) or not body:
        raise Reject(Fault(where, shown(body), "write a list of at least one filter"))
    return [_compile(one, f"{where}[{place}]") for place, one in enumerate(body)]


def _comparing(dialect: str, body: Any, where: str) -> Filter:
    if not isinstance(body, dict) or not all(isinstance(one, str) for one in body.values()):
        raise Reject(Fault(where, shown(body), "write attribute names with the text to compare them to"))
    compare, wanted = _COMPARE[dialect], list(body.items())
    return lambda attributes: all(
        name in attributes and compare(attributes[name], value) for name, value in wanted
    )
