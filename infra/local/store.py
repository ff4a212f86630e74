"""Detectors on one machine: spec, status and what each handled event led to, in one SQLite file.

A decision's new status and its outcome (commands and events, NULL once carried out) are committed in one
transaction, by compare-and-swap on the detector's version. A crash after it finds the outcome again when the
event is redelivered, and finishes it instead of deciding a second time.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from homeostat.eventing.wire import WireEvent
from homeostat.functions.detector import Cause, Detector, Status
from homeostat.functions.spec import Spec

from ..outcome import Claim, Outcome
from ..transaction import transaction
from ..trouble import Trouble

BUSY_SECONDS = 30

_SCHEMA = """
CREATE TABLE IF NOT EXISTS detectors (
  name TEXT PRIMARY KEY, spec TEXT NOT NULL, status TEXT NOT NULL, version INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outcomes (
  detector TEXT NOT NULL, key TEXT NOT NULL, outcome BLOB, claimed INTEGER NOT NULL,
  PRIMARY KEY (detector, key)
) WITHOUT ROWID;
-- An event is redelivered for hours at most; a week of claims tells every late twin.
DELETE FROM outcomes WHERE outcome IS NULL AND claimed < unixepoch() - 7 * 86400;
"""

_HINDERED = """
SELECT detector, json_extract(CAST(outcome AS TEXT), '$.function'),
  json_extract(CAST(outcome AS TEXT), '$.trouble') AS trouble
FROM outcomes WHERE outcome IS NOT NULL AND trouble IS NOT NULL ORDER BY claimed
"""


def _switch_to_wal(db: sqlite3.Connection) -> None:
    """SQLite waits for no lock here (its busy handler is not called): two that open a new file collide."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Store:
    """Thread-safe, and safe beside other processes on the same file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        # Autocommit: every statement is its own transaction unless BEGIN says otherwise.
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=BUSY_SECONDS)
        _switch_to_wal(self._db)
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def names(self) -> list[str]:
        with self._lock:
            return [name for (name,) in self._db.execute("SELECT name FROM detectors ORDER BY name")]

    def uris(self) -> dict[str, str]:
        """Where each detector's data lies: its `spec.data.uri` by its name."""
        with self._lock:
            return dict(self._db.execute("SELECT name, json_extract(spec, '$.data.uri') FROM detectors"))

    def batches(self, name: str) -> dict[str, str]:
        """The etag of each batch that the detector has recorded, by its address; empty for an unknown one."""
        query = (
            "SELECT json_extract(value, '$.uri'), json_extract(value, '$.etag')"
            " FROM detectors, json_each(status, '$.batches') WHERE name = ?"
        )
        with self._lock:
            return dict(self._db.execute(query, (name,)))

    def apply(self, name: str, spec: Spec) -> str:
        """Create the detector or replace its spec; its status stays. Says created, changed or unchanged."""
        text = spec.model_dump_json()
        with self._lock:
            row = self._db.execute("SELECT spec FROM detectors WHERE name = ?", (name,)).fetchone()
            if row and row[0] == text:
                return "unchanged"
            self._db.execute(
                "INSERT INTO detectors VALUES (?, ?, ?, 1) ON CONFLICT (name)"
                " DO UPDATE SET spec = excluded.spec, version = version + 1",
                (name, text, Status().model_dump_json()),
            )
        return "changed" if row else "created"

    def snapshot(self, name: str, now: datetime, cause: Cause) -> tuple[Detector, int] | None:
        """The detector, and the version that a commit must find unchanged. None: no such detector."""
        with self._lock:
            row = self._db.execute(
                "SELECT spec, status, version FROM detectors WHERE name = ?", (name,)
            ).fetchone()
        if row is None:
            return None
        spec, status, version = row
        detector = Detector(
            name=name,
            spec=Spec.model_validate_json(spec),
            status=Status.model_validate_json(status),
            now=now,
            cause=cause,
        )
        return detector, version

    def claimed(self, name: str, key: str) -> Claim | None:
        """What this event led to, if it was decided already."""
        with self._lock:
            row = self._db.execute(
                "SELECT outcome FROM outcomes WHERE detector = ? AND key = ?", (name, key)
            ).fetchone()
        if row is None:
            return None
        return Claim(Outcome.load(orjson.loads(row[0])) if row[0] else None)

    def commit(self, name: str, version: int, status: Status, key: str, outcome: Outcome) -> bool:
        """Store status and outcome if nobody was faster. False: somebody was; look and decide again."""
        rows = (status.model_dump_json(), name, version)
        document = None if outcome.is_empty else orjson.dumps(outcome.dump())
        try:
            with self._lock, transaction(self._db):
                changed = self._db.execute(
                    "UPDATE detectors SET status = ?, version = version + 1 WHERE name = ? AND version = ?",
                    rows,
                ).rowcount
                if changed:
                    self._db.execute(
                        "INSERT INTO outcomes VALUES (?, ?, ?, unixepoch())", (name, key, document)
                    )
        except sqlite3.IntegrityError:
            # The same event was decided by a twin in the meantime: its outcome stands.
            return False
        return bool(changed)

    def carried_out(
        self,
        name: str,
        key: str,
        now: datetime,
        missed: Trouble | None = None,
        told: Sequence[WireEvent] = (),
    ) -> Trouble | None:
        """Forget the outcome, keep that there was one. What had hindered it until now."""
        with self._lock, transaction(self._db):
            outcome = self._open(name, key)
            self._db.execute("UPDATE outcomes SET outcome = NULL WHERE detector = ? AND key = ?", (name, key))
        return outcome.trouble if outcome else None

    def hindered(self, name: str, key: str, trouble: Trouble, telling: WireEvent) -> bool:
        """Keep with the outcome what hinders it, since when. False: known, or nothing is left to do."""
        with self._lock, transaction(self._db):
            outcome = self._open(name, key)
            before = outcome.trouble if outcome else None
            if outcome is None or (before and before.kind == trouble.kind):
                return False
            found = replace(trouble, since=before.since) if before else trouble
            document = orjson.dumps(replace(outcome, trouble=found).dump())
            self._db.execute(
                "UPDATE outcomes SET outcome = ? WHERE detector = ? AND key = ?", (document, name, key)
            )
        return True

    def _open(self, name: str, key: str) -> Outcome | None:
        query = "SELECT outcome FROM outcomes WHERE detector = ? AND key = ? AND outcome IS NOT NULL"
        row = self._db.execute(query, (name, key)).fetchone()
        return Outcome.load(orjson.loads(row[0])) if row else None

    def unfinished(self) -> list[tuple[str, str, Outcome]]:
        """Detector, key and outcome of everything that was claimed and not carried out, oldest first."""
        query = "SELECT detector, key, outcome FROM outcomes WHERE outcome IS NOT NULL ORDER BY claimed"
        with self._lock:
            rows = self._db.execute(query).fetchall()
        return [(name, key, Outcome.load(orjson.loads(document))) for name, key, document in rows]

    def documents(self) -> list[Mapping[str, Any]]:
        """Every detector as a manifest with its status, for people and programs. `hindered` is there while
        something that was decided cannot be carried out."""
        with self._lock:
            rows = self._db.execute("SELECT name, spec, status FROM detectors ORDER BY name").fetchall()
            open_ones = self._db.execute(_HINDERED).fetchall()
        hindered: dict[str, list[dict[str, Any]]] = {}
        for name, function, trouble in open_ones:
            hindered.setdefault(name, []).append({"function": function, **orjson.loads(trouble)})
        return [
            {
                "apiVersion": "homeostat.dev/v1alpha1",
                "kind": "Detector",
                "metadata": {"name": name},
                "spec": orjson.loads(spec),
                "status": orjson.loads(status) | ({"hindered": hindered[name]} if name in hindered else {}),
            }
            for name, spec, status in rows
        ]
