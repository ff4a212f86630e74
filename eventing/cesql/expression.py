"""What the rest of the tree sees of CESQL: an expression, compiled once and evaluated for each event."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import Fault, Reject, shown
from .lexer import Source
from .nodes import Attributes, Node
from .parser import Parser
from .values import EvaluationError, Type, Value

MAX_LENGTH = 16 * 1024


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression.

    `type` is what it evaluates to, None where that is an attribute's own type; `unknown` are its calls of
    functions that do not exist, which evaluate to an error each time.
    """

    text: str
    type: Type | None
    unknown: tuple[str, ...]
    root: Node

    def evaluate(self, attributes: Attributes) -> tuple[Value, EvaluationError | None]:
        """The value, and the error that ended the evaluation if there was one. Never raises."""
        return self.root.evaluate(attributes)


def compile(text: str, where: str = "cesql") -> Expression:
    """Parse a CloudEvents SQL 1.0 expression. `where` is the field that it was written in.

    Raises Reject naming the character where the expression goes wrong, and the mend. Source: CESQL 1.0,
    https://github.com/cloudevents/spec/blob/main/cesql/spec.md
    """
    if len(text) > MAX_LENGTH:
        raise Reject(Fault(where, f"{len(text)} characters", f"write at most {MAX_LENGTH}"))
    if not text.strip():
        raise Reject(Fault(where, shown(text), "write an expression, such as type = 'com.example.made'"))
    parser = Parser(Source(text, where))
    root = parser.parse()
    return Expression(text, root.type, tuple(parser.unknown), root)
