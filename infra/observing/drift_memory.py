"""What the drift host remembers, in one SQLite file, by detector.

A monitor's state is written now and then, and what it was fed since is kept beside it: the state and these
pieces give the same monitor, to the bit, and an event costs no more than its own rows. Where no monitor can
be made yet, the pieces wait for it, as many as a test may need. Rows and scores that wait for each other are
halves.
"""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..transaction import transaction
from .drift_rows import Piece

REMEMBERED = 10_000
"""Events of a detector whose redelivery is recognised."""
MOST_HALVES = 200
"""So many of a detector wait; the oldest go first."""
_VERSION = 2

_SCHEMA = """
DROP TABLE IF EXISTS blocks;  -- of version 1
DROP TABLE IF EXISTS progress;
DROP TABLE IF EXISTS monitors;
DROP TABLE IF EXISTS states;
DROP TABLE IF EXISTS events;
DROP TABLE IF EXISTS pieces;
DROP TABLE IF EXISTS halves;
CREATE TABLE monitors (
  detector TEXT PRIMARY KEY, revision TEXT NOT NULL, wanted TEXT NOT NULL, upto INTEGER NOT NULL,
  saved INTEGER NOT NULL, told INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE states (detector TEXT PRIMARY KEY, state BLOB NOT NULL);
CREATE TABLE events (
  number INTEGER PRIMARY KEY AUTOINCREMENT, detector TEXT NOT NULL, key TEXT NOT NULL, revision TEXT NOT NULL,
  facts BLOB, UNIQUE (detector, key)
);
CREATE TABLE pieces (
  number INTEGER PRIMARY KEY AUTOINCREMENT, detector TEXT NOT NULL, upto INTEGER NOT NULL,
  width INTEGER NOT NULL, rows BLOB, times BLOB NOT NULL, scores BLOB, errors BLOB
);
CREATE INDEX pieces_of ON pieces (detector, upto);
CREATE TABLE halves (
  number INTEGER PRIMARY KEY AUTOINCREMENT, detector TEXT NOT NULL, pair TEXT NOT NULL, since REAL NOT NULL,
  width INTEGER NOT NULL, rows BLOB, times BLOB NOT NULL, scores BLOB, errors BLOB, UNIQUE (detector, pair)
);
"""
_PIECE = "width, rows, times, scores, errors"


@dataclass(frozen=True, slots=True)
class Progress:
    """`upto`: rows and errors so far; `saved`: those that the state holds, 0 without one; `told`: the last
    entry of the book of labels that was taken."""

    revision: str
    wanted: str
    upto: int = 0
    saved: int = 0
    told: int = 0


class Memory:
    """Not thread-safe. Everything but opening happens within a `transaction`."""

    def __init__(self, db: Path) -> None:
        db.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(db, check_same_thread=False, isolation_level=None, timeout=30)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        if self._one("PRAGMA user_version") != (_VERSION,):
            self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")

    def close(self) -> None:
        self._db.close()

    def transaction(self) -> AbstractContextManager[None]:
        return transaction(self._db)

    # --- events --------------------------------------------------------------------------------------------
    def known(self, detector: str, key: str) -> tuple[str, bytes | None] | None:
        """The revision that the event was taken for, and what it led to."""
        found: tuple[str, bytes | None] | None = self._one(
            "SELECT revision, facts FROM events WHERE detector = ? AND key = ?", detector, key
        )
        return found

    def remember(self, detector: str, key: str, revision: str, facts: bytes | None) -> None:
        number = self._db.execute(
            "INSERT INTO events (detector, key, revision, facts) VALUES (?, ?, ?, ?)",
            (detector, key, revision, facts),
        ).lastrowid
        self._db.execute(
            "DELETE FROM events WHERE detector = ? AND number <= ?", (detector, (number or 0) - REMEMBERED)
        )

    # --- monitors ------------------------------------------------------------------------------------------
    def progress(self, detector: str, revision: str, wanted: str) -> Progress:
        """What is fed to one revision, and to one kind of test, is of no use to another: it starts afresh."""
        found = self._one(
            "SELECT revision, wanted, upto, saved, told FROM monitors WHERE detector = ?", detector
        )
        if found and Progress(*found[:2]) == Progress(revision, wanted):
            return Progress(*found)
        for table in ("states", "pieces", "halves"):
            self._db.execute(f"DELETE FROM {table} WHERE detector = ?", (detector,))  # noqa: S608
        self.note(detector, Progress(revision, wanted))
        return Progress(revision, wanted)

    def note(self, detector: str, now: Progress) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO monitors VALUES (?, ?, ?, ?, ?, ?)",
            (detector, now.revision, now.wanted, now.upto, now.saved, now.told),
        )

    def state(self, detector: str) -> bytes | None:
        found = self._one("SELECT state FROM states WHERE detector = ?", detector)
        return found[0] if found else None

    def save(self, detector: str, state: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO states VALUES (?, ?)", (detector, state))

    # --- what they are fed ---------------------------------------------------------------------------------
    def add(self, detector: str, piece: Piece, upto: int) -> None:
        self._db.execute(
            "INSERT INTO pieces (detector, upto, width, rows, times, scores, errors)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (detector, upto, *_packed(piece)),
        )

    def pieces(self, detector: str, after: int) -> list[Piece]:
        """Those that came when so many rows and errors had been there, in order."""
        found = self._db.execute(
            f"SELECT {_PIECE} FROM pieces WHERE detector = ? AND upto > ? ORDER BY upto",  # noqa: S608
            (detector, after),
        )
        return [_piece(*row) for row in found]

    def forget(self, detector: str, upto: int) -> None:
        """Drop the pieces that end at `upto` rows or before."""
        self._db.execute("DELETE FROM pieces WHERE detector = ? AND upto <= ?", (detector, upto))

    # --- halves --------------------------------------------------------------------------------------------
    def other_half(self, detector: str, pair: str, piece: Piece) -> Piece | None:
        """The piece together with the half that waited for it; None if there was none."""
        found = self._one(
            f"DELETE FROM halves WHERE detector = ? AND pair = ? AND (rows IS NULL) != ? RETURNING {_PIECE}",  # noqa: S608
            detector,
            pair,
            piece.rows is None,
        )
        if found is None:
            return None
        other = _piece(*found)
        return (
            replace(other, scores=piece.scores) if piece.rows is None else replace(piece, scores=other.scores)
        )

    def wait(self, detector: str, pair: str, piece: Piece, now: float) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO halves (detector, pair, since, width, rows, times, scores, errors)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (detector, pair, now, *_packed(piece)),
        )

    def waited(self, detector: str, before: float) -> list[Piece]:
        """The rows that came `before` then, or before the last MOST_HALVES, and wait no longer; scores in the
        same case are dropped."""
        found = self._db.execute(
            "DELETE FROM halves WHERE detector = ?1 AND (since < ?2 OR number <= ("
            " SELECT number FROM halves WHERE detector = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?3"
            ")) RETURNING number, width, rows, times, scores, errors",
            (detector, before, MOST_HALVES),
        ).fetchall()
        return [_piece(*row) for _, *row in sorted(found, key=lambda one: one[0]) if row[1] is not None]

    def _one(self, statement: str, *values: Any) -> Any:
        return self._db.execute(statement, values).fetchone()


def _packed(piece: Piece) -> tuple[Any, ...]:
    parts = (piece.rows, piece.times, piece.scores, piece.errors)
    width = 0 if piece.rows is None else piece.rows.shape[1]
    return (width, *(None if one is None else one.tobytes() for one in parts))


def _piece(width: int, rows: bytes | None, times: bytes, scores: bytes | None, errors: bytes | None) -> Piece:
    return Piece(
        None if rows is None else np.frombuffer(rows, np.float32).reshape(-1, width),
        np.frombuffer(times, np.float64),
        _numbers(scores),
        _numbers(errors),
    )


def _numbers(stored: bytes | None) -> NDArray[np.float64] | None:
    return None if stored is None else np.frombuffer(stored, np.float64)
