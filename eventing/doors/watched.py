"""A small private file that is read again when it changes, so that a rotation needs no restart."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from ..errors import Fault, Reject, shown

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_EVERY = 1.0
"""Seconds between two looks at the file: a revoked token lives at most this much longer."""

Mark = tuple[int, int, int]


class Watched(Generic[T]):
    """What `read` makes of the file's bytes; `empty` while there has never been a file.

    At the start a damaged file raises Reject. Later on, one that is damaged, open to others or gone leaves
    what was read last: no slip of an editor opens a door.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[bytes], T],
        empty: T,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._read, self._clock = read, clock
        self._value = empty
        self._next = clock() + LOOK_EVERY
        self._mark = _mark(path)
        if self._mark:
            self._value = read(private_bytes(path))

    def current(self) -> T:
        """The file as it stands, looked at no more than once a second."""
        if self._clock() >= self._next:
            self._look()
        return self._value

    def _look(self) -> None:
        self._next = self._clock() + LOOK_EVERY
        mark = _mark(self.path)
        if mark == self._mark:
            return
        self._mark = mark
        try:
            self._value = self._read(private_bytes(self.path))
        except (Reject, OSError) as error:
            log.warning("%s cannot be used, what was read before it still holds: %s", self.path, error)


def _mark(path: Path) -> Mark | None:
    """What changes with the file: an atomic replacement also changes its inode."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def private_bytes(path: Path) -> bytes:
    """The bytes of a file that only its owner can open. Raises Reject otherwise, OSError without one."""
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
        if mode & 0o077:
            raise Reject(Fault(str(path), shown(oct(mode)), f"others can open it: chmod 600 {path}"))
        return file.read()


def write_private(path: Path, content: bytes) -> None:
    """Replace the file whole or not at all, readable by its owner only (mode 0600)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arriving = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        arriving.unlink()
    handle = os.open(arriving, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    arriving.replace(path)
