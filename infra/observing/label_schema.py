"""The tables of a label book."""

from __future__ import annotations

import sqlite3

_TABLES = """
-- One event's rows, a byte each (scored_rows). `stamps`: when each row's label was given, eight bytes each,
-- microseconds since 1970; NULL while none has any. `own`: the id that V2's client gave.
CREATE TABLE IF NOT EXISTS answers (
  number INTEGER PRIMARY KEY AUTOINCREMENT, detector TEXT NOT NULL, request TEXT NOT NULL,
  source TEXT NOT NULL, own TEXT NOT NULL, series TEXT NOT NULL, at INTEGER NOT NULL,
  revision TEXT NOT NULL, rows BLOB NOT NULL, stamps BLOB, n INTEGER NOT NULL,
  labelled INTEGER NOT NULL DEFAULT 0, UNIQUE (detector, request, source)
);
CREATE INDEX IF NOT EXISTS answers_by_order ON answers (detector, number);
CREATE INDEX IF NOT EXISTS answers_by_own ON answers (detector, own) WHERE own <> '';
CREATE INDEX IF NOT EXISTS answers_by_time ON answers (detector, series, at);
CREATE INDEX IF NOT EXISTS answers_by_revision ON answers (detector, revision, number);
-- Labels are known, and wait for rows that they are about, until then. `rows`: places with commas between.
CREATE TABLE IF NOT EXISTS labels (
  number INTEGER PRIMARY KEY AUTOINCREMENT, detector TEXT NOT NULL, source TEXT NOT NULL, id TEXT NOT NULL,
  request TEXT NOT NULL, rows TEXT NOT NULL, series TEXT NOT NULL, starts INTEGER NOT NULL,
  ends INTEGER NOT NULL, anomalous INTEGER NOT NULL, time INTEGER NOT NULL, until INTEGER NOT NULL,
  matched INTEGER NOT NULL, UNIQUE (detector, source, id)
);
CREATE INDEX IF NOT EXISTS labels_by_order ON labels (detector, number);
CREATE INDEX IF NOT EXISTS labels_by_until ON labels (detector, until);
CREATE INDEX IF NOT EXISTS labels_by_request ON labels (detector, request);
CREATE INDEX IF NOT EXISTS labels_by_end ON labels (detector, series, ends);
-- Rows that got their first label: a byte each, 1 where the revision was wrong.
CREATE TABLE IF NOT EXISTS errors (
  number INTEGER PRIMARY KEY AUTOINCREMENT, detector TEXT NOT NULL, revision TEXT NOT NULL,
  errors BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS errors_by_order ON errors (detector, number);
CREATE TABLE IF NOT EXISTS counts (
  detector TEXT PRIMARY KEY, answers INTEGER NOT NULL DEFAULT 0, rows INTEGER NOT NULL DEFAULT 0,
  unmatched INTEGER NOT NULL DEFAULT 0, changes INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""


def schema(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.executescript(_TABLES)
