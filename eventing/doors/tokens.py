"""Bearer tokens, a set of them for each door: who has one comes in.

A token is 256 random bits, so one round of SHA-256 keeps it at rest: there is no dictionary to try, and what
bcrypt or argon2 would slow down cannot be guessed anyway, while every request would pay for them. Several are
valid at once, so a new one is handed out before the old one is revoked.
"""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Callable
from pathlib import Path

from .token_file import TokenFile, digest, new_token, parse
from .watched import Watched

Row = tuple[bytes, str, float]


class Tokens:
    """The tokens as they stand in the file, read again when it changes, and those of this process alone."""

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._file = Watched(path, parse, TokenFile(), clock)
        self._now = now
        self._own: list[Row] = []
        self._built_from: TokenFile | None = None
        self._rows: list[Row] = []
        self._closed: frozenset[str] = frozenset()

    def admit(self, door: str) -> str:
        """A new token for as long as this process lives, kept in memory only: for its own children."""
        token = new_token(door)
        self._own.append((digest(token.encode()), door, math.inf))
        self._built_from = None
        return token

    def closed(self, door: str) -> bool:
        """Whether the door asks for a token: it does once it has had one, even if that has been revoked."""
        self._refresh()
        return door in self._closed

    def valid(self, door: str) -> int:
        """How many tokens of the file open this door now."""
        now = self._now()
        return sum(one.door == door and one.until > now for one in self._file.current().tokens)

    def door_of(self, token: bytes) -> str | None:
        """The door that this token opens. It takes as long whichever it is, and whether it is one."""
        self._refresh()
        given, now, found = digest(token), self._now(), None
        for held, door, until in self._rows:
            if hmac.compare_digest(held, given) and until > now:
                found = door
        return found

    def _refresh(self) -> None:
        file = self._file.current()
        if file is not self._built_from:
            self._built_from = file
            self._rows = [(bytes.fromhex(one.sha256), one.door, one.until) for one in file.tokens] + self._own
            self._closed = frozenset(file.closed)
