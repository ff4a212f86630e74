"""How much a label book keeps. Times are microseconds since 1970."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import timedelta

_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Of each detector: `answers` with all in all `rows` rows, none older than `age`; `labels` that wait for
    rows to come, and `wait` so long; `errors`, labels whose rows' errors are kept."""

    answers: int = 200_000
    rows: int = 3_000_000
    age: timedelta = timedelta(days=90)
    labels: int = 10_000
    wait: timedelta = timedelta(hours=1)
    errors: int = 20_000


def trim(db: sqlite3.Connection, limits: Limits, name: str, now: int, horizon: int) -> None:
    """Forget the oldest answers while there are too many or they are older than `horizon`, some at a time."""
    answers, rows = db.execute("SELECT answers, rows FROM counts WHERE detector = ?", (name,)).fetchone() or (
        0,
        0,
    )
    gone = gone_rows = last = 0
    for number, n, at in db.execute(
        "SELECT number, n, at FROM answers WHERE detector = ? ORDER BY number LIMIT ?", (name, _AT_ONCE)
    ):
        if answers - gone <= limits.answers and rows - gone_rows <= limits.rows and at >= horizon:
            break
        gone, gone_rows, last = gone + 1, gone_rows + n, number
    if gone:
        db.execute("DELETE FROM answers WHERE detector = ? AND number <= ?", (name, last))
        count(db, name, answers=-gone, rows=-gone_rows, changes=1)
    trim_labels(db, limits, name, now)


def trim_labels(db: sqlite3.Connection, limits: Limits, name: str, now: int) -> None:
    """Labels wait for their rows no longer than they may, and so many; those that fitted none are counted."""
    (expired,) = db.execute(
        "SELECT max(number) FROM labels WHERE detector = ? AND until <= ?", (name, now)
    ).fetchone()
    over = max(expired or -1, _oldest_but(db, "labels", name, limits.labels))
    (lost,) = db.execute(
        "SELECT count(*) FROM labels WHERE NOT matched AND detector = ? AND number <= ?", (name, over)
    ).fetchone()
    db.execute("DELETE FROM labels WHERE detector = ? AND number <= ?", (name, over))
    if lost:
        count(db, name, unmatched=lost)
    over = _oldest_but(db, "errors", name, limits.errors)
    db.execute("DELETE FROM errors WHERE detector = ? AND number <= ?", (name, over))


def _oldest_but(db: sqlite3.Connection, table: str, name: str, kept: int) -> int:
    """The number of the newest entry that is too many; -1 where none is."""
    query = f"SELECT number FROM {table} WHERE detector = ? ORDER BY number DESC LIMIT 1 OFFSET ?"  # noqa: S608
    (number,) = db.execute(query, (name, kept)).fetchone() or (-1,)
    return int(number)


def count(db: sqlite3.Connection, name: str, **more: int) -> None:
    """Add to what is counted of the detector, by columns of `counts`."""
    db.execute("INSERT OR IGNORE INTO counts (detector) VALUES (?)", (name,))
    changes = ", ".join(f"{column} = {column} + {by:d}" for column, by in more.items())
    db.execute(f"UPDATE counts SET {changes} WHERE detector = ?", (name,))  # noqa: S608
