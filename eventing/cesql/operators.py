"""CESQL's binary operators on values (CESQL 1.0 §3.4.2), and the casts that each makes first (§3.7)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import partial

from .values import LARGEST, SMALLEST, EvaluationError, Type, Value, cast

Apply = Callable[[Value, Value], Value]


def equal(x: Value, y: Value) -> bool:
    """`=` exists for each of the types, so the right operand's type decides."""
    return bool(cast(x, type(y)) == y)


def _unequal(x: Value, y: Value) -> bool:
    return not equal(x, y)


def _ordered(compare: Callable[[int, int], bool], x: Value, y: Value) -> bool:
    return compare(cast(x, int), cast(y, int))


def _arithmetic(compute: Callable[[int, int], int], x: Value, y: Value) -> int:
    return bounded(compute(cast(x, int), cast(y, int)))


def bounded(number: int) -> int:
    """The number itself. Raises EvaluationError of kind `math` where it has more than 32 bits.

    The specification leaves overflow open except for ABS, where it is a MathError; two engines wrap around
    silently, which no filter can mean.
    """
    if SMALLEST <= number <= LARGEST:
        return number
    raise EvaluationError("math", f"{number} has more than 32 bits")


def _quotient(x: int, y: int) -> int:
    if y == 0:
        raise EvaluationError("math", "division by zero")
    # Rounded towards zero; Python's own // rounds down.
    return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


def _remainder(x: int, y: int) -> int:
    return x - y * _quotient(x, y)


ARITHMETIC: Mapping[str, Apply] = {
    "*": partial(_arithmetic, operator.mul),
    "/": partial(_arithmetic, _quotient),
    "%": partial(_arithmetic, _remainder),
    "+": partial(_arithmetic, operator.add),
    "-": partial(_arithmetic, operator.sub),
}
COMPARISON: Mapping[str, Apply] = {
    "=": equal,
    "!=": _unequal,
    "<>": _unequal,
    "<": partial(_ordered, operator.lt),
    "<=": partial(_ordered, operator.le),
    ">": partial(_ordered, operator.gt),
    ">=": partial(_ordered, operator.ge),
}
BINARY: Mapping[str, Apply] = {**ARITHMETIC, **COMPARISON}
RESULT: Mapping[str, Type] = {**dict.fromkeys(ARITHMETIC, int), **dict.fromkeys(COMPARISON, bool)}
