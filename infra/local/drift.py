"""The drift host's memory and its test: recent rows per detector in SQLite, alibi-detect's verdict on them.

Rows are kept by the key of the event that brought them, so a redelivery never counts twice, and a test that
fails leaves nothing behind. What is kept is bounded by the Detector's window, and starts anew with each
revision, because each brings a reference of its own.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homeostat.eventing.codec import Context
from homeostat.eventing.errors import Fault, Reject, shown
from homeostat.eventing.messages import InferenceRequest
from homeostat.functions.detect_drift import DriftFacts
from homeostat.functions.detector import Detector
from homeostat.models import artifact, protocol
from homeostat.models.drift import DriftTest

CACHED_TESTS = 16
"""Calibrated tests kept in memory: one per serving revision, and a few that were just replaced."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
  number INTEGER PRIMARY KEY AUTOINCREMENT, detector TEXT NOT NULL, revision TEXT NOT NULL,
  event TEXT NOT NULL, count INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE (detector, revision, event)
);
CREATE TABLE IF NOT EXISTS tested (
  detector TEXT PRIMARY KEY, revision TEXT NOT NULL, untested INTEGER NOT NULL
) WITHOUT ROWID;
"""


class DriftObserver:
    """Thread-safe: one observation at a time, as alibi-detect's tests are not."""

    def __init__(self, db: Path) -> None:
        db.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(db, isolation_level=None, check_same_thread=False, timeout=30)
        self._db.execute("PRAGMA journal_mode=WAL")
        # A verdict that a power cut forgets comes again with the next rows.
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        self._tests: OrderedDict[tuple[str, str], DriftTest] = OrderedDict()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def observe(self, event: InferenceRequest, context: Context, detector: Detector) -> DriftFacts | None:
        """The verdict, when these rows complete a step of `spec.drift.every`; None otherwise.

        Raises Reject for a payload that is not in the Detector's channels.
        """
        serving = detector.status.serving
        if serving is None:
            return None
        rows = _rows(event, detector)
        with self._lock:
            due = self._remember(detector, serving.name, f"{context.source} {context.id}", rows)
            if not due:
                return None
            window = self._window(detector, serving.name)
            facts = self._test(detector, serving.uri, serving.name, window)
            # Only now: if the test failed, the same rows are tested again with the event's redelivery.
            self._db.execute("UPDATE tested SET untested = 0 WHERE detector = ?", (detector.name,))
            return facts

    def _remember(self, detector: Detector, revision: str, key: str, rows: NDArray[np.float64]) -> bool:
        """Keep the rows; says whether a test is due."""
        name, drift = detector.name, detector.spec.drift
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute("DELETE FROM rows WHERE detector = ? AND revision != ?", (name, revision))
            new = self._db.execute(
                "INSERT OR IGNORE INTO rows (detector, revision, event, count, data) VALUES (?, ?, ?, ?, ?)",
                (name, revision, key, len(rows), rows.tobytes()),
            ).rowcount
            self._db.execute(
                "INSERT INTO tested VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET"
                " untested = iif(revision = excluded.revision, untested, 0) + excluded.untested,"
                " revision = excluded.revision",
                (name, revision, len(rows) if new else 0),
            )
            # Everything older than the events that together hold the window.
            self._db.execute(
                "DELETE FROM rows WHERE detector = ?1 AND number <= (SELECT max(number) FROM ("
                " SELECT number, sum(count) OVER (ORDER BY number DESC) - count AS newer"
                " FROM rows WHERE detector = ?1) WHERE newer >= ?2)",
                (name, drift.window),
            )
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        (untested,) = self._db.execute("SELECT untested FROM tested WHERE detector = ?", (name,)).fetchone()
        held = "SELECT coalesce(sum(count), 0) FROM rows WHERE detector = ?"
        (count,) = self._db.execute(held, (name,)).fetchone()
        return bool(untested >= drift.every and count >= drift.window)

    def _window(self, detector: Detector, revision: str) -> NDArray[np.float64]:
        blobs = self._db.execute(
            "SELECT data FROM rows WHERE detector = ? AND revision = ? ORDER BY number",
            (detector.name, revision),
        ).fetchall()
        rows = np.frombuffer(b"".join(blob for (blob,) in blobs)).reshape(
            -1, len(detector.spec.data.channels)
        )
        return rows[-detector.spec.drift.window :]

    def _test(self, detector: Detector, uri: str, revision: str, rows: NDArray[np.float64]) -> DriftFacts:
        verdict = self._calibrated(detector, uri).test(rows)
        return DriftFacts(
            test=detector.spec.drift.test,
            statistic=verdict.statistic,
            threshold=self._calibrated(detector, uri).threshold,
            p_value=verdict.p_value,
            drifted=verdict.drifted,
            window=len(rows),
            revision=revision,
            channels=verdict.channels,
        )

    def _calibrated(self, detector: Detector, uri: str) -> DriftTest:
        drift = detector.spec.drift
        key = (uri, drift.model_dump_json())
        if key not in self._tests:
            fitted = artifact.load(uri)
            self._tests[key] = DriftTest(
                fitted.reference,
                fitted.channels,
                test=drift.test,
                p_value=drift.p_value,
                window=drift.window,
            )
            while len(self._tests) > CACHED_TESTS:
                self._tests.popitem(last=False)
        self._tests.move_to_end(key)
        return self._tests[key]


def _rows(event: InferenceRequest, detector: Detector) -> NDArray[np.float64]:
    """The request's rows, (n, c), whichever protocol carried them; windows are laid end to end."""
    channels = detector.spec.data.channels
    try:
        if event.inputs is None:
            values = protocol.instances({"instances": event.instances}, channels)
        else:
            values = _tensor(event.inputs, channels)
    except protocol.InputError as error:
        raise Reject(Fault("data", "no rows of the Detector's channels", str(error))) from None
    return np.ascontiguousarray(values.reshape(-1, len(channels)))


def _tensor(inputs: list[Any], channels: tuple[str, ...]) -> NDArray[np.float64]:
    first = inputs[0] if inputs else None
    if not isinstance(first, dict) or not {"shape", "datatype", "data"} <= set(first):
        mend = "send one V2 tensor with name, shape, datatype and data"
        raise Reject(Fault("data.inputs", shown(first), mend))
    return protocol.tensor(
        str(first.get("name", "")), first["shape"], str(first["datatype"]), first["data"], channels
    )
