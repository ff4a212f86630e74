"""The parts of an expression, each compiled to a closure: attributes in, value out, or EvaluationError.

The first error ends an evaluation (CESQL 1.0 §4.1, fail fast), which is what a filter needs and what the
conformance kit expects. No closure calls itself in a chain (`a AND b AND …`), so Python's stack is as deep as
the brackets, which the parser bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .functions import Function, arguments
from .operators import BINARY, RESULT, bounded, equal
from .patterns import matcher
from .values import ZERO, EvaluationError, Type, Value, cast, represented

Attributes = Mapping[str, object]
Run = Callable[[Attributes], Value]
Test = Callable[[Value, Attributes], bool]
REQUIRED = frozenset({"id", "source", "specversion", "type"})


@dataclass(frozen=True, slots=True)
class Node:
    """One part. `type` is None for an attribute, whose type only the event knows."""

    type: Type | None
    run: Run

    def evaluate(self, attributes: Attributes) -> tuple[Value, EvaluationError | None]:
        """As the root: the value, and beside it the error. Never raises."""
        try:
            return self.run(attributes), None
        except EvaluationError as error:
            own = error.value if error.site is self.run else None
            return ZERO[self.type or bool] if own is None else own, error.with_traceback(None)


def literal(value: Value) -> Node:
    return Node(type(value), lambda attributes: value)


def attribute(name: str) -> Node:
    def run(attributes: Attributes) -> Value:
        if name not in attributes:
            raise EvaluationError("missingAttribute", f"the event has no {name}")
        return represented(attributes[name])

    return Node(None, run)


def exists(name: str) -> Node:
    return Node(bool, lambda attributes: name in REQUIRED or name in attributes)


def negative(operand: Node) -> Node:
    of = operand.run
    return Node(int, lambda attributes: bounded(-cast(of(attributes), int)))


def inverse(operand: Node) -> Node:
    """NOT. The casts of §3.7 make every integer but 0 true; the conformance kit wants NOT 10 to be true with
    a cast error. Both hold when 0 and 1 are the integers that NOT takes; a filter's verdict is the same.
    """
    of = operand.run

    def run(attributes: Attributes) -> Value:
        value = of(attributes)
        if type(value) is int and value not in (0, 1):
            error = EvaluationError("cast", f"NOT {value}: {value} is neither true nor false", True)
            error.site = run
            raise error
        return not cast(value, bool)

    return Node(bool, run)


def tested(operand: Node, tests: Sequence[Test]) -> Node:
    """LIKE and IN, each of which asks about the answer of the one before where there are several."""
    start = operand.run

    def run(attributes: Attributes) -> Value:
        value = start(attributes)
        for test in tests:
            value = test(value, attributes)
        return value

    return Node(bool, run)


def like(pattern: str, negated: bool) -> Test:
    matches = matcher(pattern)
    return lambda value, attributes: matches(cast(value, str)) is not negated


def within(elements: Sequence[Node], negated: bool) -> Test:
    """IN: the left operand's type is what the elements are cast to."""
    ones = [element.run for element in elements]
    return lambda value, attributes: any(equal(one(attributes), value) for one in ones) is not negated


def call(function: Function, operands: Sequence[Node]) -> Node:
    ones = [operand.run for operand in operands]

    def run(attributes: Attributes) -> Value:
        values = arguments(function, [one(attributes) for one in ones])
        try:
            return function.body(*values)
        except EvaluationError as error:
            error.site = run
            raise

    return Node(function.result, run)


def unknown(name: str, count: int) -> Node:
    """A call that nothing answers: false, and the error (§3.5)."""

    def run(attributes: Attributes) -> Value:
        raise EvaluationError("missingFunction", f"there is no {name} of {count} arguments")

    return Node(bool, run)


def chain(first: Node, rest: Sequence[tuple[str, Node]]) -> Node:
    """Arithmetic or comparison operators of one precedence, from left to right."""
    start = first.run
    steps = [(BINARY[symbol], operand.run) for symbol, operand in rest]

    def run(attributes: Attributes) -> Value:
        value = start(attributes)
        for apply, operand in steps:
            value = apply(value, operand(attributes))
        return value

    return Node(RESULT[rest[-1][0]], run)


def logic(operands: Sequence[Node], symbols: Sequence[str]) -> Node:
    """AND, OR and XOR, `a AND b OR c` read as `a AND (b OR c)`.

    So says the specification's grammar (CESQLParser.g4), and so do the engines that Knative and Java run; the
    text's "left to right" (§3.6) is kept for the order of evaluation.
    """
    *before, last = [operand.run for operand in operands]
    steps = list(zip(before, symbols, strict=True))

    def run(attributes: Attributes) -> Value:
        flipped = False  # by the XORs that were passed; AND and OR leave nothing to do once passed
        for operand, symbol in steps:
            value = cast(operand(attributes), bool)
            if symbol == "XOR":
                flipped ^= value
            elif value is (symbol == "OR"):
                return bool(flipped ^ value)
        return bool(flipped ^ cast(last(attributes), bool))

    return Node(bool, run)
