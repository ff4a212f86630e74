"""CESQL's grammar (CESQL 1.0 §2 and the precedences of §3.6), by recursive descent into nodes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn, TypeVar

from . import nodes
from .functions import FUNCTIONS, resolve
from .lexer import Source, Token, tokens, unquoted
from .nodes import Node
from .patterns import MAX_PATTERN
from .values import LARGEST, SMALLEST

MAX_DEPTH = 50
"""Brackets, calls and signs within one another: at most 12 Python frames each, of a thousand."""

_LEVELS = (("=", "!=", "<>", ">=", "<=", ">", "<"), ("+", "-"), ("*", "/", "%"))
_LOGIC = ("AND", "OR", "XOR")
_FUNCTION = re.compile(r"[A-Za-z][A-Za-z_]*")
_VALUE = "expected a value here: an attribute, a literal, a function call or an expression in brackets"
_Result = TypeVar("_Result")


class Parser:
    """One expression's parse. `unknown` gathers the calls that no function answers."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._tokens = list(tokens(source))
        self._at = 0
        self._depth = 0
        self.unknown: list[str] = []

    def parse(self) -> Node:
        """Raises Reject naming the place and the mend."""
        node = self._logic()
        if (token := self._next).kind != "end":
            self._refuse(token, "expected an operator or the end here; close brackets, quote text")
        return node

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self, *texts: str) -> Token | None:
        """The next token if it is one of these keywords or symbols."""
        token = self._next
        if token.kind not in ("keyword", "symbol") or token.text not in texts:
            return None
        self._at += 1
        return token

    def _refuse(self, token: Token, mend: str) -> NoReturn:
        self._source.refuse(token.start, str(token), mend)

    def _expect(self, text: str) -> None:
        if not self._take(text):
            self._refuse(self._next, f"expected {text} here")

    def _nested(self, parse: Callable[[], _Result]) -> _Result:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse(self._next, f"nest at most {MAX_DEPTH} deep")
        result = parse()
        self._depth -= 1
        return result

    def _logic(self) -> Node:
        operands, symbols = [self._level(0)], []
        while symbol := self._take(*_LOGIC):
            symbols.append(symbol.text)
            operands.append(self._level(0))
        return nodes.logic(operands, symbols) if symbols else operands[0]

    def _level(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._postfix()
        first, rest = self._level(level + 1), []
        while symbol := self._take(*_LEVELS[level]):
            rest.append((symbol.text, self._level(level + 1)))
        return nodes.chain(first, rest) if rest else first

    def _postfix(self) -> Node:
        """LIKE and IN bind tighter than the binary operators, and looser than NOT and the minus sign."""
        node, tests = self._unary(), []
        while token := self._take("NOT", "LIKE", "IN"):
            negated = token.text == "NOT"
            kind = self._take("LIKE", "IN") if negated else token
            if kind is None:
                self._refuse(token, "NOT stands before a value, or in NOT LIKE and NOT IN")
            like = kind.text == "LIKE"
            tests.append(
                nodes.like(self._pattern(), negated)
                if like
                else nodes.within(self._listed(empty=False), negated)
            )
        return nodes.tested(node, tests) if tests else node

    def _pattern(self) -> str:
        token = self._next
        if token.kind != "string":
            self._refuse(token, "LIKE takes a string literal, such as 'com.example.%'")
        self._at += 1
        if len(pattern := unquoted(token.text)) > MAX_PATTERN:
            self._refuse(token, f"patterns have at most {MAX_PATTERN} characters")
        return pattern

    def _listed(self, *, empty: bool) -> list[Node]:
        self._expect("(")
        if empty and self._take(")"):
            return []
        ones = [self._nested(self._logic)]
        while self._take(","):
            ones.append(self._nested(self._logic))
        self._expect(")")
        return ones

    def _unary(self) -> Node:
        if self._take("NOT"):
            return nodes.inverse(self._nested(self._unary))
        if not (sign := self._take("-", "+")):
            return self._primary()
        # A sign that touches its digits is part of the literal, or -2147483648 could not be written.
        if self._next.kind == "integer" and self._next.start == sign.end:
            return self._integer(sign.text)
        if sign.text == "+":
            self._refuse(sign, "a plus sign stands between two values or right before digits")
        return nodes.negative(self._nested(self._unary))

    def _integer(self, sign: str = "") -> Node:
        token = self._next
        self._at += 1
        digits = token.text.lstrip("0") or "0"
        value = int(sign + digits) if len(digits) <= 10 else LARGEST + 1
        if not SMALLEST <= value <= LARGEST:
            self._refuse(token, f"integers go from {SMALLEST} to {LARGEST}")
        return nodes.literal(value)

    def _primary(self) -> Node:
        if self._take("("):
            node = self._nested(self._logic)
            self._expect(")")
            return node
        if self._take("EXISTS"):
            return nodes.exists(self._name(self._next))
        if boolean := self._take("TRUE", "FALSE"):
            return nodes.literal(boolean.text == "TRUE")
        token = self._next
        if token.kind == "integer":
            return self._integer()
        if token.kind == "string":
            self._at += 1
            return nodes.literal(unquoted(token.text))
        if token.kind == "name" and self._tokens[self._at + 1].text == "(":
            return self._call(token)
        return nodes.attribute(self._name(token))

    def _name(self, token: Token) -> str:
        if token.kind != "name":
            self._refuse(token, _VALUE)
        if "_" in token.text:
            self._refuse(token, "attribute names are letters and digits only; a function takes brackets")
        self._at += 1
        # Attribute names are in small letters; the conformance kit reads SOURCE as source.
        return token.text.lower()

    def _call(self, token: Token) -> Node:
        if not _FUNCTION.fullmatch(token.text):
            self._refuse(token, "function names are letters and underscores")
        self._at += 1
        operands = self._listed(empty=True)
        if function := resolve(token.text, len(operands)):
            return nodes.call(function, operands)
        known = ", ".join(FUNCTIONS)
        self.unknown.append(f"{token.text} of {len(operands)} arguments; functions here: {known}")
        return nodes.unknown(token.text, len(operands))
