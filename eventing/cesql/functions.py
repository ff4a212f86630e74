"""CESQL's built-in functions (CESQL 1.0 §3.5), by name and number of arguments.

INT, BOOL and STRING are the casts that the specification and its conformance kit call by these names; IS_INT
and IS_BOOL were in its drafts and are still in the engine that Knative runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .values import LARGEST, SMALLEST, EvaluationError, Type, Value, can_cast, cast

MAX_TEXT = 256 * 1024
"""Characters that CONCAT may make: a short expression must not multiply an event's text without end."""

# Unicode's White_Space; Python's strip() would take the separators U+001C to U+001F too, which are controls.
_WHITE = "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a" + (
    "\u2028\u2029\u202f\u205f\u3000"
)


@dataclass(frozen=True, slots=True)
class Function:
    """What a call casts its arguments to (None: nothing), what it answers, and how many more it takes."""

    body: Callable[..., Value]
    result: Type
    parameters: tuple[Type | None, ...]
    rest: Type | None = None

    def takes(self, arguments: int) -> bool:
        return arguments == len(self.parameters) or (
            self.rest is not None and arguments > len(self.parameters)
        )

    def parameter(self, place: int) -> Type | None:
        return self.parameters[place] if place < len(self.parameters) else self.rest


def resolve(name: str, arguments: int) -> Function | None:
    """The function of that name, in any case, that takes so many arguments."""
    return next((one for one in FUNCTIONS.get(name.upper(), ()) if one.takes(arguments)), None)


def _absolute(x: int) -> int:
    if x == SMALLEST:
        raise EvaluationError("math", f"ABS({SMALLEST}) has no 32 bits", LARGEST)
    return abs(x)


def _concat(*texts: str) -> str:
    return _joined("", *texts)


def _joined(delimiter: str, *texts: str) -> str:
    if sum(map(len, texts)) + len(delimiter) * len(texts) > MAX_TEXT:
        raise EvaluationError("functionEvaluation", f"more than {MAX_TEXT} characters")
    return delimiter.join(texts)


def _left(x: str, y: int) -> str:
    return x[: _count(x, y)]


def _right(x: str, y: int) -> str:
    return x[max(0, len(x) - _count(x, y)) :]


def _count(x: str, y: int) -> int:
    if y < 0:
        raise EvaluationError("functionEvaluation", f"{y} characters cannot be taken", x)
    return y


def _substring(x: str, position: int, length: int = LARGEST) -> str:
    if not -len(x) <= position <= len(x) or length < 0:
        raise EvaluationError("functionEvaluation", f"no substring at {position} of {len(x)} characters")
    if position == 0:
        return ""
    start = position - 1 if position > 0 else len(x) + position
    return x[start : start + length]


FUNCTIONS: Mapping[str, tuple[Function, ...]] = {
    "INT": (Function(lambda x: x, int, (int,)),),
    "BOOL": (Function(lambda x: x, bool, (bool,)),),
    "STRING": (Function(lambda x: x, str, (str,)),),
    "IS_INT": (Function(lambda x: can_cast(x, int), bool, (None,)),),
    "IS_BOOL": (Function(lambda x: can_cast(x, bool), bool, (None,)),),
    "ABS": (Function(_absolute, int, (int,)),),
    "LENGTH": (Function(len, int, (str,)),),
    "CONCAT": (Function(_concat, str, (), str),),
    "CONCAT_WS": (Function(_joined, str, (str,), str),),
    "LOWER": (Function(str.lower, str, (str,)),),
    "UPPER": (Function(str.upper, str, (str,)),),
    "TRIM": (Function(lambda x: x.strip(_WHITE), str, (str,)),),
    "LEFT": (Function(_left, str, (str, int)),),
    "RIGHT": (Function(_right, str, (str, int)),),
    "SUBSTRING": (
        Function(_substring, str, (str, int)),
        Function(_substring, str, (str, int, int)),
    ),
}


def arguments(function: Function, values: list[Value]) -> list[Value]:
    """The values as the function's parameters. Raises EvaluationError of kind `cast`."""
    targets = [function.parameter(place) for place in range(len(values))]
    return [
        value if target is None else cast(value, target)
        for value, target in zip(values, targets, strict=True)
    ]
