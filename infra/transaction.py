"""All of a block's changes to a SQLite file, or none of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Of a connection without transactions of its own (`isolation_level=None`). It waits for other writers at
    its beginning, so that nothing that it reads is out of date when it writes."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # Some errors, such as a full disk, have rolled back already.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
