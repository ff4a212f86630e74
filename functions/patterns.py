"""Which labels an alert rule is about.

Patterns are matched by pydantic's engine (Rust's regex): it reads RE2's syntax, as Prometheus does, and takes
a time linear in the text, where some patterns and labels make Python's own `re` hang.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, core_schema

LONGEST = 256
"""Characters of a value that a rule names; a longer pattern hides what it is about."""


def matches(rule: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether every label that the rule names is there and has its value."""
    return all(name in labels and _is(labels[name], wanted) for name, wanted in rule.items())


def _is(value: str, wanted: str) -> bool:
    return _whole(wanted[1:]).isinstance_python(value) if wanted.startswith("~") else value == wanted


@lru_cache(maxsize=1024)
def _whole(pattern: str) -> SchemaValidator:
    """Tells texts that the pattern matches from start to end. Raises SchemaError for what is no pattern."""
    # Alone first: `a)|(b` must not become a pattern by what is put around it.
    SchemaValidator(core_schema.str_schema(pattern=pattern))
    return SchemaValidator(core_schema.str_schema(pattern=f"^(?:{pattern})$", strict=True))


def checked(wanted: str) -> str:
    """The value, which is a text, or ~ and a pattern. Raises ValueError for what can never match."""
    if len(wanted) > LONGEST:
        raise ValueError(f"{len(wanted)} characters are too many: {LONGEST} at most, or write two rules")
    if wanted.startswith("~"):
        try:
            _whole(wanted[1:])
        except SchemaError as error:
            why = str(error).strip().rpartition("rror: ")[2].strip(" .")
            raise ValueError(f"no pattern ({why}): write RE2's syntax, as Prometheus does") from None
    return wanted
