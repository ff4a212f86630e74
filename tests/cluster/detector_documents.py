"""Detectors as documents: what hypothesis makes of a model, and whether the CRD's schema takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema
from hypothesis import strategies as st

from homeostat.infra.cluster.crd import schema


def strict(node: Any) -> Any:
    """A structural schema as JSON Schema (draft 4, whose exclusive bounds are flags, as Kubernetes' are), and
    closed, as an API server reads it that is told to validate fields strictly."""
    if isinstance(node, list):
        return [strict(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {key: strict(value) for key, value in node.items() if key != "nullable"}
    if isinstance(node.get("properties"), dict) and "additionalProperties" not in node:
        found["additionalProperties"] = False
    return {"anyOf": [{"type": "null"}, found]} if node.get("nullable") else found


def _validator() -> jsonschema.Draft4Validator:
    whole = strict(schema())
    whole["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft4Validator(whole)


VALIDATOR = _validator()


def refused(document: Mapping[str, Any]) -> list[str]:
    """Where the CRD's schema finds fault, by path."""
    deepest = [jsonschema.exceptions.best_match([one]) for one in VALIDATOR.iter_errors(document)]
    return [".".join(map(str, one.absolute_path)) for one in deepest if one is not None]


_FINITE = st.floats(-1e9, 1e9)
DURATIONS = st.one_of(
    st.just("0"),
    st.lists(
        st.builds(
            "{}{}".format,
            st.integers(0, 9999) | st.floats(0, 99).map("{:.3f}".format),
            st.sampled_from(["ms", "s", "m", "h", "d"]),
        ),
        min_size=1,
        max_size=4,
    ).map("".join),
    st.from_regex(r"\AP([0-9]{1,3}D)?(T([0-9]{1,3}H)?([0-9]{1,3}M)?([0-9]{1,3}(\.[0-9]{1,3})?S)?)?\Z"),
)


def documents(node: Mapping[str, Any], defs: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a pydantic model's JSON schema, near its bounds and a little beyond them."""
    if "$ref" in node:
        return documents(defs[node["$ref"].removeprefix("#/$defs/")], defs)
    if "anyOf" in node:
        return st.one_of([documents(one, defs) for one in node["anyOf"]])
    if "enum" in node:
        return st.sampled_from([*node["enum"], "none of them"])
    if node.get("format") == "duration":
        return DURATIONS
    return _typed(node, defs)


def _typed(node: Mapping[str, Any], defs: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    match node.get("type"):
        case "object" if "properties" in node:
            parts = {name: documents(one, defs) for name, one in node["properties"].items()}
            needed = set(node.get("required", ()))
            return st.fixed_dictionaries(
                {name: one for name, one in parts.items() if name in needed},
                optional={name: one for name, one in parts.items() if name not in needed},
            )
        case "object":
            inner = node.get("additionalProperties")
            values = (
                documents(inner, defs) if isinstance(inner, dict) else st.integers() | st.text(max_size=3)
            )
            return st.dictionaries(st.text(max_size=5), values, max_size=3)
        case "array":
            return st.lists(documents(node["items"], defs), min_size=node.get("minItems", 0), max_size=4)
        case "integer":
            low = node.get("minimum", 0)
            return st.integers(low - 1, node.get("maximum", low + 100) + 1)
        case "number":
            bounds = {
                node.get(name) for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
            }
            return st.sampled_from(sorted(bounds - {None}) or [0.0]) | st.floats(0, 1) | _FINITE
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "string" if "pattern" in node:
            return st.from_regex(node["pattern"].replace("$", r"\Z"), fullmatch=False)
        case "string":
            return st.text(max_size=8)
    return st.none() | st.integers() | st.text(max_size=3)
