"""CESQL's words and signs (CESQL 1.0 §2), with the place of each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

from ..errors import Fault, Reject, shown

KEYWORDS = frozenset({"AND", "OR", "XOR", "NOT", "LIKE", "EXISTS", "IN", "TRUE", "FALSE"})
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    | (?P<string>'(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*")
    | (?P<word>[A-Za-z0-9_]+)
    | (?P<symbol><>|!=|>=|<=|[-+*/%=<>(),])""",
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """`kind` is string, integer, keyword, name, symbol or end; keywords' text is in capitals."""

    kind: str
    text: str
    start: int
    end: int

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else shown(self.text, 40)


class Source(NamedTuple):
    """An expression and the field that it was read from."""

    text: str
    where: str

    def refuse(self, start: int, found: str, mend: str) -> NoReturn:
        """Raises Reject naming the place, counted from 1."""
        raise Reject(Fault(f"{self.where}, character {start + 1}", found, mend))


def tokens(source: Source) -> Iterator[Token]:
    """Raises Reject where no token begins."""
    text, at = source.text, 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            source.refuse(at, shown(text[at : at + 20]), _no_token(text[at]))
        kind, at = str(found.lastgroup), found.end()
        if kind == "string" and text[at : at + 1] == text[at - 1]:
            source.refuse(at, shown(text[at - 1 : at + 1]), f"write \\{text[at]} for a quote inside a string")
        if kind != "space":
            yield _token(kind, found)
    yield Token("end", "", at, at)


def _token(kind: str, found: re.Match[str]) -> Token:
    text = found.group()
    if kind == "word":
        kind = "integer" if text.isdigit() else "keyword" if text.upper() in KEYWORDS else "name"
    return Token(kind, text.upper() if kind == "keyword" else text, found.start(), found.end())


def _no_token(character: str) -> str:
    if character in "'\"":
        return f"the string does not end; close it with {character}"
    return "CESQL has no such sign; text goes in quotes, attribute names are letters and digits"


def unquoted(literal: str) -> str:
    """The text of a string literal: only its own quote is escaped, other backslashes are themselves."""
    quote = literal[0]
    return re.sub(
        r"\\(.)", lambda pair: quote if pair[1] == quote else pair[0], literal[1:-1], flags=re.DOTALL
    )
