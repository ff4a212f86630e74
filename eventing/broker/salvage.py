"""What can be read of a damaged file is carried into a new one."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_READ = "SELECT sequence, accepted, attributes, data FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?"
_PAGE = 500
_PROBES = 2_000  # so many stretches that cannot be read are jumped, each time by more
TABLES = ("cursors", "done", "attempts", "dead", "again")


@dataclass(frozen=True)
class Saved:
    """How much came through. `lost` is how many sequence numbers between the first and the last event are
    missing; retention leaves such gaps too."""

    path: Path
    kept_as: Path
    events: int
    lost: int
    rows: dict[str, int]

    def __str__(self) -> str:
        tables = ", ".join(f"{count} of {name}" for name, count in self.rows.items() if count) or "none"
        return (
            f"{self.path} was damaged: {self.events} events were saved, {self.lost} could not be read; other"
            f" rows saved: {tables}. The damaged file is kept as {self.kept_as}."
        )


def salvage(path: Path, fresh: Callable[[Path], sqlite3.Connection]) -> Saved:
    """Move the file (and its journal) aside, and carry over what can be read. `fresh` makes a new one."""
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    old, new = sqlite3.connect(aside, isolation_level=None), fresh(path)
    try:
        new.execute("BEGIN IMMEDIATE")
        sequences = [0, 0, 0]  # how many, first, last
        for row in _events(old):
            new.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?)", row)
            sequences = [sequences[0] + 1, sequences[1] or row[0], row[0]]
        rows = {table: _copied(old, new, table) for table in TABLES}
        new.execute("COMMIT")
    finally:
        old.close()
        new.close()
    count, first, last = sequences
    return Saved(path, aside, count, last - first + 1 - count if count else 0, rows)


def _events(old: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    """Readable events in order. Where reading fails, further on it may go on."""
    after, step, probes = 0, 1, 0
    while probes < _PROBES:
        try:
            found = old.execute(_READ, (after, _PAGE if step == 1 else 1))
            read = False
            for row in found:
                after, step, read = row[0], 1, True
                if isinstance(row[1], float) and isinstance(row[2], bytes):
                    yield row
            if not read:
                return
        except sqlite3.DatabaseError:
            probes += 1
            after, step = after + step, step * 2


def _copied(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> int:
    count = 0
    with contextlib.suppress(sqlite3.DatabaseError):
        for row in old.execute(f"SELECT * FROM {table}"):  # noqa: S608 - our own names
            new.execute(f"INSERT OR IGNORE INTO {table} VALUES ({','.join('?' * len(row))})", row)  # noqa: S608
            count += 1
    return count
