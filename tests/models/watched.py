"""What Python does while something else is going on: code run, modules loaded, files written, processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_RUNS = ("compile", "exec", "import", "marshal.", "pickle.", "code.", "ctypes.", "cpython.", "shelve.")
_REACHES = ("subprocess.", "os.", "socket.", "shutil.", "tempfile.", "urllib.", "http.", "ftplib.", "pty.")
_LOOKS = ("os.listdir", "os.scandir")
_seen: list[str] | None = None


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is None or event in _LOOKS:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = any(one in str(mode or "") for one in "wax+") or bool(int(flags or 0) & 0o3)
        if writes:
            _seen.append(f"open {path!r} {mode} {flags}")
    elif event.startswith(_RUNS + _REACHES):
        _seen.append(f"{event} {arguments!r:.200}")


sys.addaudithook(_note)  # for good: a hook cannot be taken back, so it is told when to look


@contextmanager
def watched() -> Iterator[list[str]]:
    """The events of PEP 578 by which anything could run or reach out, from here to the end of the block."""
    global _seen
    _seen, seen = [], _seen
    try:
        yield _seen
    finally:
        _seen = seen
