"""JSON Schema to Kubernetes' structural schema: everything is kept, or refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from homeostat.infra.cluster.structural import structural


@pytest.mark.parametrize(
    "schema",
    [
        {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        {"type": "number", "multipleOf": 2},
        {"type": "string", "format": "uuid"},
    ],
)
def test_what_a_structural_schema_cannot_say_is_refused_and_not_dropped(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="structural"):
        structural(schema)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"const": "a", "type": "string"}, {"enum": ["a"], "type": "string"}),
        (
            {"type": "number", "exclusiveMinimum": 0},
            {"type": "number", "minimum": 0, "exclusiveMinimum": True},
        ),
        (
            {"anyOf": [{"enum": ["a"], "type": "string"}, {"type": "null"}], "default": None},
            {"pattern": "^(a)$", "type": "string", "nullable": True},
        ),
        ({"title": "Anything"}, {"x-kubernetes-preserve-unknown-fields": True}),
        (
            {
                "$ref": "#/$defs/A",
                "$defs": {"A": {"type": "object", "properties": {}, "description": "a\n b"}},
            },
            {"type": "object", "properties": {}, "description": "a b"},
        ),
    ],
)
def test_a_schema_says_the_same_in_kubernetes_words(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    assert structural(schema) == expected
