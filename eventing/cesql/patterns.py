"""LIKE's patterns (CESQL 1.0 §3.4.3): `%` is any text, `_` any character, a backslash makes either plain."""

from __future__ import annotations

import re
from collections.abc import Callable

MAX_PATTERN = 1024
"""Matching takes at most pattern times text steps; event text is bounded by the broker, patterns here."""

_PART = re.compile(r"\\[%_]|.", re.DOTALL)


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a text matches, never in more than len(pattern) * len(text) steps.

    The stretches between `%` are looked for from left to right, each at its first place: an earlier place
    never leaves less room for what follows, so nothing is ever tried again.
    """
    stretches = [_Stretch(one) for one in _between_wildcards(pattern)]
    if len(stretches) == 1:
        whole = stretches[0].regex
        return lambda text: whole.fullmatch(text) is not None
    first, *middle, last = stretches

    def matches(text: str) -> bool:
        found = first.regex.match(text)
        for stretch in middle:
            if found is None:
                return False
            found = stretch.regex.search(text, found.end())
        start = len(text) - last.length
        return found is not None and found.end() <= start and last.regex.match(text, start) is not None

    return matches


class _Stretch:
    """Plain characters and `_`, of one length: no part of it repeats, so no regex can run away."""

    def __init__(self, parts: list[str]) -> None:
        self.length = len(parts)
        self.regex = re.compile(
            "".join("." if one == "_" else re.escape(one[-1]) for one in parts), re.DOTALL
        )


def _between_wildcards(pattern: str) -> list[list[str]]:
    stretches: list[list[str]] = [[]]
    for part in _PART.findall(pattern):
        if part == "%":
            stretches.append([])
        else:
            stretches[-1].append(part)
    return stretches
