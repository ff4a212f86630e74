"""The broker's file: its tables, how older ones are brought up to date, what is done about a damaged one."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

from .salvage import salvage

log = logging.getLogger(__name__)

VERSION = 2
CHECKED_BYTES = 128 * 1024 * 1024
"""A larger file is not looked through at every start, only where reading begins."""
_STATEMENTS = 256  # prepared once each, and kept

SCHEMA = """
CREATE TABLE events (
  sequence INTEGER PRIMARY KEY, accepted REAL NOT NULL, attributes BLOB NOT NULL, data BLOB
);
-- Everything up to the cursor is done, and done holds what was done beyond it, out of order.
CREATE TABLE cursors (
  trigger TEXT PRIMARY KEY, sequence INTEGER NOT NULL, paused INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE done (trigger TEXT, sequence INTEGER, PRIMARY KEY (trigger, sequence)) WITHOUT ROWID;
-- Wanted once more, though the cursor has passed them: redriven dead letters, replayed history.
CREATE TABLE again (trigger TEXT, sequence INTEGER, PRIMARY KEY (trigger, sequence)) WITHOUT ROWID;
CREATE TABLE attempts (
  trigger TEXT, sequence INTEGER, count INTEGER NOT NULL, next REAL NOT NULL,
  PRIMARY KEY (trigger, sequence)
) WITHOUT ROWID;
CREATE TABLE dead (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  trigger TEXT NOT NULL, sequence INTEGER NOT NULL, destination TEXT NOT NULL,
  code INTEGER, reason TEXT NOT NULL, at REAL NOT NULL,
  UNIQUE (trigger, sequence)
);
"""

_FROM_1 = """
ALTER TABLE events RENAME TO events_1;
CREATE TABLE events (
  sequence INTEGER PRIMARY KEY, accepted REAL NOT NULL, attributes BLOB NOT NULL, data BLOB
);
INSERT INTO events SELECT sequence, accepted, attributes, data FROM events_1;
DROP TABLE events_1;
ALTER TABLE cursors ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
CREATE TABLE again (trigger TEXT, sequence INTEGER, PRIMARY KEY (trigger, sequence)) WITHOUT ROWID;
"""
MIGRATIONS: Mapping[int, str] = {0: SCHEMA, 1: _FROM_1}
"""What brings a file of each version to the next (an empty one to the newest)."""


class DamagedStore(Exception):
    """The file cannot be used; the message says why and what mends it."""


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the file, and bring it up to date. Raises DamagedStore for one that a newer Homeostat wrote, or
    that cannot be opened; a damaged one is `salvage`d by `repaired` first."""
    address = f"{path.resolve().as_uri()}{'?mode=ro' if read_only else ''}"
    try:
        db = sqlite3.connect(
            address,
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=30,
            cached_statements=_STATEMENTS,
        )
    except sqlite3.OperationalError as error:
        raise DamagedStore(f"{path}: {error}; is it there, and may you read it?") from None
    try:
        version = _prepare(db, read_only)
    except sqlite3.OperationalError as error:
        db.close()
        # Locked, full, forbidden: the file itself may be whole, so nobody is told to throw it away.
        raise DamagedStore(f"{path}: {error}; mend that, the events in it are safe") from None
    except sqlite3.DatabaseError as error:
        db.close()
        raise DamagedStore(f"{path}: {error}; `homeostat up` saves what can be read") from None
    if version > VERSION:
        db.close()
        raise DamagedStore(f"{path} was written by a newer Homeostat (schema {version}); upgrade this one")
    return db


def _prepare(db: sqlite3.Connection, read_only: bool) -> int:
    if read_only or _version(db) > VERSION:
        return _version(db)
    # Before there is a table: deleted events give their space back, piece by piece.
    db.execute("PRAGMA auto_vacuum=INCREMENTAL")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    # The newest page of a log is written again and again: carried over seldom, it is carried over once.
    db.execute("PRAGMA wal_autocheckpoint=1000")
    while (version := _version(db)) < VERSION:
        _migrate(db, version)
    return version


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _migrate(db: sqlite3.Connection, version: int) -> None:
    """One step, whole or not at all."""
    db.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been first.
        if _version(db) == version:
            for statement in filter(str.strip, MIGRATIONS[version].split(";")):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {VERSION if version == 0 else version + 1}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def repaired(path: Path, say: Callable[[str], None] = log.error) -> None:
    """See that the file can be used: what can be read of a damaged one is carried into a new one, the damaged
    one is kept beside it, and it is said what was saved."""
    if not path.exists() or _is_whole(path):
        return
    say(str(salvage(path, connect)))


def _is_whole(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=30)
    except (OSError, sqlite3.OperationalError):
        return True  # cannot be opened: that is not damage, and is told elsewhere
    try:
        if empty or _version(db) > VERSION:
            return True
        if path.stat().st_size <= CHECKED_BYTES:
            (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
            return bool(found == "ok")
        for table in ("cursors", "done", "attempts", "dead"):
            db.execute(f"SELECT * FROM {table} LIMIT 1000").fetchall()  # noqa: S608 - our own names
        db.execute("SELECT min(sequence), max(sequence) FROM events").fetchone()
    except sqlite3.OperationalError:
        return True
    except sqlite3.DatabaseError:
        return False
    finally:
        db.close()
    return True
