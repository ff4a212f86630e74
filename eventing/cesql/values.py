"""CESQL's three types, its errors, and the casts between the types (CESQL 1.0 §3.1, §3.3, §3.7).

A type is Python's own: `str`, `int` (32 bits, signed) and `bool`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Value = str | int | bool
Type = type[str] | type[int] | type[bool]

NAMES: Mapping[Type, str] = {str: "String", int: "Integer", bool: "Boolean"}
ZERO: Mapping[Type, Value] = {str: "", int: 0, bool: False}
SMALLEST, LARGEST = -(2**31), 2**31 - 1


class EvaluationError(Exception):
    """What went wrong while an expression was evaluated.

    `kind` is one of the conformance kit's words: `math`, `cast`, `missingAttribute`, `missingFunction`,
    `functionEvaluation`. `value` is what the failing operator returns beside the error where that is not the
    zero value of its type; `site` is that operator, for `value` counts only where nothing encloses it.
    """

    def __init__(self, kind: str, message: str, value: Value | None = None) -> None:
        self.kind, self.value = kind, value
        self.site: object = None
        super().__init__(message)


def represented(value: object) -> Value:
    """An attribute as CESQL sees it: anything that is not of the three types is its text (§3.2)."""
    if type(value) is int:
        return value if SMALLEST <= value <= LARGEST else str(value)
    return value if isinstance(value, (str, bool)) else str(value)


def cast(value: Value, target: Type) -> Any:
    """The value as `target`. Raises EvaluationError of kind `cast`."""
    return value if type(value) is target else _CASTS[target](value)


def can_cast(value: Value, target: Type) -> bool:
    try:
        cast(value, target)
    except EvaluationError:
        return False
    return True


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _integer(value: Value) -> int:
    if not isinstance(value, str):
        return int(value)
    digits = value[1:] if value[:1] in ("+", "-") else value
    # Python's own int() takes other scripts' digits, blanks and underscores, and refuses 5,000 zeros.
    significant = digits.lstrip("0")
    if digits.isascii() and digits.isdigit() and len(significant) <= 10:
        number = int(significant or "0") * (-1 if value[0] == "-" else 1)
        if SMALLEST <= number <= LARGEST:
            return number
    raise EvaluationError("cast", f"{value[:40]!r} is no 32-bit integer")


def _boolean(value: Value) -> bool:
    if not isinstance(value, str):
        return value != 0
    match value.lower():
        case "true":
            return True
        case "false":
            return False
    raise EvaluationError("cast", f"{value[:40]!r} is neither true nor false")


_CASTS: Mapping[Type, Callable[[Value], Value]] = {str: _text, int: _integer, bool: _boolean}
