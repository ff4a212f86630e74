"""pydantic's JSON Schema to Kubernetes' structural schema.

What has no place in the latter is refused by name, so that no constraint of a model is dropped unseen. A new
kind of constraint has to be put into `_KEPT`, `_DROPPED`, or words of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_TIME = r"([0-9]+H([0-9]+M)?([0-9]+(\.[0-9]+)?S)?|[0-9]+M([0-9]+(\.[0-9]+)?S)?|[0-9]+(\.[0-9]+)?S)"
DURATION = {
    "type": "string",
    "pattern": rf"^(0|([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+|P([0-9]+D(T{_TIME}?)?|T{_TIME}))$",
}
"""All that `eventing.durations` reads. Kubernetes' own format `duration` knows neither `1d` nor ISO 8601."""

FREE = {"x-kubernetes-preserve-unknown-fields": True}
"""Any value: a model's `Any`."""

_KEPT = {"type", "description", "enum", "pattern"}
_KEPT |= {"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties"}
_KEPT |= {"maxProperties", "required"}
_DROPPED = {"title", "default", "examples", "$defs"}
_FORMATS = {"date-time"}
_BOUNDS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}


def structural(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same schema without references, unions of types and titles.

    Raises ValueError for what a structural schema cannot say.
    """
    return _structural(schema, schema.get("$defs", {}))


def _structural(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return _structural({**defs[schema["$ref"].removeprefix("#/$defs/")], **beside}, defs)
    if "anyOf" in schema:
        return _nullable(schema, defs)
    if schema.get("format") == "duration":
        return dict(DURATION)
    if not schema.keys() - _DROPPED - {"description"}:
        return {**FREE, **{key: schema[key] for key in ("description",) if key in schema}}
    found: dict[str, Any] = {}
    for key, value in schema.items():
        found |= _word(key, value, defs)
    return found


def _nullable(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    some = [one for one in schema["anyOf"] if one.get("type") != "null"]
    if len(some) != 1 or len(schema["anyOf"]) != 2:
        raise ValueError(f"a structural schema knows no union of types: {schema['anyOf']}")
    found = {**_structural(some[0], defs), "nullable": True}
    if "enum" in found:
        # An API server refuses null by an enum, even by one that lists it; patterns it asks of texts only.
        found["pattern"] = f"^({'|'.join(map(re.escape, found.pop('enum')))})$"
    if "description" in schema:
        found["description"] = schema["description"]
    return found


def _word(key: str, value: Any, defs: Mapping[str, Any]) -> dict[str, Any]:
    match key:
        case "properties":
            return {key: {name: _structural(one, defs) for name, one in value.items()}}
        case "additionalProperties" if isinstance(value, bool):
            return dict(FREE) if value else {}  # closed by being structural
        case "items" | "additionalProperties":
            return {key: _structural(value, defs)}
        case "const":
            return {"enum": [value]}
        case "description":
            return {key: " ".join(value.split())}
    if key in _BOUNDS:  # a number of its own in JSON Schema, a flag beside the bound in OpenAPI 3.0
        return {_BOUNDS[key]: value, key: True}
    if key in _KEPT or (key == "format" and value in _FORMATS):
        return {key: value}
    if key in _DROPPED:
        return {}
    raise ValueError(f"a structural schema has no place for {key}: {value!r}")
