"""Which door a path leads to, so that no spelling of it leads past the guard and into the app elsewhere.

The app below routes by the decoded path as it stands, so the guard does too; a path that somebody could read
in two ways (`//`, `/./`, `/../`, a backslash, a NUL) leads to no door at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_TWO_WAYS = re.compile(r"//|/\.{1,2}(?:/|$)|[\\\x00-\x1f\x7f]|^(?!/)")


def route_path(scope: Mapping[str, Any]) -> str:
    """The path below the mount, as Starlette's routing takes it."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root):
        if len(path) == len(root):
            return "/"
        if path[len(root)] == "/":
            return path[len(root) :]
    return path


def is_plain(path: str) -> bool:
    """Whether there is one way only to read it."""
    return _TWO_WAYS.search(path) is None


class Prefixes(Generic[T]):
    """What stands at the longest prefix, by whole segments: `/serving` covers `/serving/pump`, and not
    `/servings`. The prefix `/` covers all that is left."""

    def __init__(self, table: Mapping[str, T]) -> None:
        for prefix in table:
            if not is_plain(prefix) or (prefix != "/" and prefix.endswith("/")):
                raise ValueError(f"{prefix!r} is no plain prefix: write it like /serving")
        longest_first = sorted(table.items(), key=lambda one: -len(one[0]))
        self._rows = [(prefix, prefix.rstrip("/") + "/", one) for prefix, one in longest_first]

    def find(self, path: str) -> T | None:
        for prefix, below, one in self._rows:
            if path.startswith(below) or path == prefix:
                return one
        return None
