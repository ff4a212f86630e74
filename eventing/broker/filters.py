"""Trigger filters (Knative's `spec.filters`, CloudEvents Subscriptions API §3.2.4): all of a list must hold.

`filters`, where it has any, overrides the older `filter`, as on a cluster; what either says is checked.
Knative skips a filter that it cannot run, which lets everything pass; here the manifest is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .. import cesql
from ..errors import Fault, Reject, shown

Attributes = Mapping[str, str]
Filter = Callable[[Attributes], bool]

MAX_DEPTH = 30
"""Filters within one another: a manifest that nests deeper is a mistake, and Python's stack has an end."""

_COMPARE: Mapping[str, Callable[[str, str], bool]] = {
    "exact": str.__eq__,
    "prefix": str.startswith,
    "suffix": str.endswith,
}
DIALECTS = (*_COMPARE, "all", "any", "not", "cesql")
# Knative's admission webhook takes no name that starts with a digit, though CloudEvents does.
_NAME = re.compile(r"[a-z][a-z0-9]*")


def compile_filters(spec: Mapping[str, Any], where: str) -> Filter:
    """The filter of a Trigger's spec; no filter lets everything pass. `where` names the field `filters`.

    Raises Reject naming every field that cannot be run. Sources: Knative's trigger_types.go,
    trigger_validation.go and eventfilter/attributes; the Subscriptions API.
    """
    older = _attributes(spec.get("filter"), where.removesuffix("filters") + "filter")
    return _all(spec["filters"], where, 0) if spec.get("filters") else older


def _attributes(body: Any, where: str) -> Filter:
    """`filter.attributes`: an empty value asks only that the event has the attribute."""
    body = {} if body is None else body
    attributes = body.get("attributes") if isinstance(body, dict) else body
    if attributes is None or attributes == {}:
        return lambda _: True
    wanted = _named(attributes, f"{where}.attributes", empty=True)
    return lambda event: all(
        event.get(name) == value if value else bool(event.get(name)) for name, value in wanted
    )


def _compile(document: Any, where: str, depth: int) -> Filter:
    if not isinstance(document, dict) or len(document) != 1:
        raise Reject(Fault(where, shown(document), f"write one dialect per filter: {', '.join(DIALECTS)}"))
    if depth > MAX_DEPTH:
        raise Reject(Fault(where[:200], "a filter", f"nest at most {MAX_DEPTH} deep"))
    ((dialect, body),) = document.items()
    where = f"{where}.{dialect}"
    if dialect in _COMPARE:
        return _comparing(_COMPARE[dialect], body, where)
    if dialect in _NESTED:
        return _NESTED[dialect](body, where, depth + 1)
    if dialect == "cesql":
        return _cesql(body, where)
    raise Reject(Fault(where, shown(body), f"dialects here: {', '.join(DIALECTS)}"))


def _all(body: Any, where: str, depth: int) -> Filter:
    everyone = _many(body, where, depth)
    return lambda event: all(one(event) for one in everyone)


def _any(body: Any, where: str, depth: int) -> Filter:
    anyone = _many(body, where, depth)
    return lambda event: any(one(event) for one in anyone)


def _not(body: Any, where: str, depth: int) -> Filter:
    negated = _compile(body, where, depth)
    return lambda event: not negated(event)


_NESTED: Mapping[str, Callable[[Any, str, int], Filter]] = {"all": _all, "any": _any, "not": _not}


def _many(body: Any, where: str, depth: int) -> list[Filter]:
    if not isinstance(body, list) or not body:
        raise Reject(Fault(where, shown(body), "write a list of at least one filter"))
    compiled: list[Filter] = []
    faults: list[Fault] = []
    for place, one in enumerate(body):
        try:
            compiled.append(_compile(one, f"{where}[{place}]", depth))
        except Reject as rejected:
            faults += rejected.faults
    if faults:
        raise Reject(faults)
    return compiled


def _comparing(compare: Callable[[str, str], bool], body: Any, where: str) -> Filter:
    wanted = _named(body, where, empty=False)
    return lambda event: all(name in event and compare(event[name], value) for name, value in wanted)


def _named(body: Any, where: str, *, empty: bool) -> list[tuple[str, str]]:
    """Attribute names with the text that each is compared to."""
    if not isinstance(body, dict) or not body:
        raise Reject(Fault(where, shown(body), "write attribute names with the text to compare them to"))
    if faults := list(_faults(body, where, empty)):
        raise Reject(faults)
    return list(body.items())


def _faults(body: Mapping[Any, Any], where: str, empty: bool) -> Iterable[Fault]:
    for name, value in body.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            mend = "attribute names are small letters and digits, a letter first"
            yield Fault(f"{where}.{str(name)[:40]}", shown(name), mend)
        elif not isinstance(value, str):
            yield Fault(f"{where}.{name}", shown(value), "compare to text; put it in quotes")
        elif not value and not empty:
            yield Fault(f"{where}.{name}", shown(value), f"write text, or `cesql: EXISTS {name}`")


def _cesql(body: Any, where: str) -> Filter:
    """Passes when the expression is true and nothing went wrong (CESQL 1.0 §1.2)."""
    if not isinstance(body, str):
        raise Reject(Fault(where, shown(body), "write an expression, such as \"type = 'com.example.made'\""))
    expression = cesql.compile(body, where)
    if expression.unknown:
        raise Reject(Fault(where, "no function", one) for one in expression.unknown)
    if expression.type not in (bool, None):
        mend = "a filter must be true or false; compare it to something"
        raise Reject(Fault(where, f"of type {cesql.NAMES[expression.type]}", mend))

    def passes(event: Attributes) -> bool:
        value, error = expression.evaluate(event)
        # An attribute alone: a boolean extension travels as its text.
        return error is None and (value is True or (isinstance(value, str) and value.lower() == "true"))

    return passes
