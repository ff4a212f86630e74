"""The drift host's eyes: the rows that detectors were asked about lately, and the test of them.

Everything lies in SQLite, and an event's rows, the verdict they led to and what they replaced are committed
in one transaction. So a redelivered event finds its verdict instead of counting twice, a test that fails
leaves nothing behind, and a restart goes on where the last process was.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from homeostat.eventing.codec import Context
from homeostat.eventing.errors import Fault, Reject, Retry
from homeostat.eventing.messages import InferenceRequest
from homeostat.functions.detect_drift import DriftFacts
from homeostat.functions.detector import Detector, Revision
from homeostat.functions.spec import Spec
from homeostat.models import artifact, protocol
from homeostat.models.drift import DriftTest
from homeostat.models.fitted import Fitted

from .artifacts import local_folder

log = logging.getLogger(__name__)

_REMEMBERED = 10_000  # events whose redelivery is recognised
_CACHED = 16  # artifacts and tests held in memory

_SCHEMA = """
CREATE TABLE IF NOT EXISTS progress (
  detector TEXT PRIMARY KEY, revision TEXT NOT NULL, rows INTEGER NOT NULL, tested INTEGER
) WITHOUT ROWID;
-- One event's rows, float32, row by row; NULL once later ones took their place. `upto`: rows so far.
CREATE TABLE IF NOT EXISTS blocks (
  number INTEGER PRIMARY KEY AUTOINCREMENT, detector TEXT NOT NULL, key TEXT NOT NULL,
  revision TEXT NOT NULL, upto INTEGER NOT NULL, data BLOB, verdict BLOB, UNIQUE (detector, key)
);
CREATE INDEX IF NOT EXISTS kept ON blocks (detector, number) WHERE data IS NOT NULL;
"""

Rows = NDArray[np.float32]
T = TypeVar("T")


def local_artifact(uri: str) -> Fitted:
    """Raises ArtifactError or ValueError."""
    return artifact.load(local_folder(uri))


class DriftObserver:
    """Thread-safe; one per file. `load` reads the artifact that a URI names, and raises as `local_artifact`
    does."""

    def __init__(self, db: Path, load: Callable[[str], Fitted] = local_artifact) -> None:
        db.parent.mkdir(parents=True, exist_ok=True)
        self._load = load
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._db = sqlite3.connect(db, check_same_thread=False, isolation_level=None, timeout=30)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def observe(self, event: InferenceRequest, context: Context, detector: Detector) -> DriftFacts | None:
        """Keep the event's rows; the verdict of `spec.drift` if it is time for one, None if not.

        It is time once `window` rows are there, and again after `every` further ones. Rows and verdicts
        belong to the revision that serves; another one starts afresh. The same event gets the same answer
        again.
        Raises Reject for a payload that holds no rows of this detector, and Retry while the serving artifact
        cannot be loaded.
        """
        serving = detector.status.serving
        if serving is None:
            return None
        with self._lock:
            fitted = self._fitted(serving)
            rows = _rows(event, fitted.channels, fitted.preparation.missing.policy != "refuse")
            with self._transaction():
                return self._record(_key(context), rows, fitted, serving, detector)

    def _record(
        self, key: str, rows: Rows, fitted: Fitted, serving: Revision, detector: Detector
    ) -> DriftFacts | None:
        name, spec = detector.name, detector.spec.drift
        before, tested = self._progress(name, serving.name)
        known = self._db.execute(
            "SELECT revision, verdict FROM blocks WHERE detector = ? AND key = ?", (name, key)
        ).fetchone()
        if known:
            return _facts(known[1]) if known[0] == serving.name else None
        upto = before + len(rows)
        self._db.execute(
            "INSERT INTO blocks (detector, key, revision, upto, data) VALUES (?, ?, ?, ?, ?)",
            (name, key, serving.name, upto, rows.tobytes()),
        )
        facts = None
        if upto >= spec.window and (tested is None or upto - tested >= spec.every):
            latest = self._latest(name, spec.window, len(fitted.channels))
            facts = self._test(latest, fitted, serving, detector.spec)
            tested = upto
        if facts:
            verdict = orjson.dumps(asdict(facts))
            self._db.execute(
                "UPDATE blocks SET verdict = ? WHERE detector = ? AND key = ?", (verdict, name, key)
            )
        self._db.execute("UPDATE progress SET rows = ?, tested = ? WHERE detector = ?", (upto, tested, name))
        self._trim(name, upto - spec.window - spec.every)
        return facts

    def _progress(self, name: str, revision: str) -> tuple[int, int | None]:
        """Rows so far and rows at the last test; both start afresh with a revision."""
        row = self._db.execute(
            "SELECT revision, rows, tested FROM progress WHERE detector = ?", (name,)
        ).fetchone()
        if row and row[0] == revision:
            return row[1], row[2]
        self._db.execute("UPDATE blocks SET data = NULL WHERE detector = ? AND data IS NOT NULL", (name,))
        self._db.execute("INSERT OR REPLACE INTO progress VALUES (?, ?, 0, NULL)", (name, revision))
        return 0, None

    def _latest(self, name: str, count: int, channels: int) -> Rows:
        """The last `count` rows, or fewer if the window has just been made longer."""
        blocks: list[Rows] = []
        found = 0
        for (data,) in self._db.execute(
            "SELECT data FROM blocks WHERE detector = ? AND data IS NOT NULL ORDER BY number DESC", (name,)
        ):
            blocks.append(np.frombuffer(data, np.float32).reshape(-1, channels))
            found += len(blocks[-1])
            if found >= count:
                break
        return np.concatenate(blocks[::-1])[-count:]

    def _test(self, rows: Rows, fitted: Fitted, serving: Revision, wanted: Spec) -> DriftFacts | None:
        # Slow change is no drift to a detector that follows it.
        spec, follows = wanted.drift, wanted.features.baseline > 0
        if len(rows) < spec.window:
            return None
        settings = {"test": spec.test, "p_value": spec.p_value, "window": spec.window, "follows": follows}

        def build() -> DriftTest | None:
            try:
                return DriftTest(fitted.reference, fitted.channels, **settings)  # type: ignore[arg-type]
            except ValueError as error:
                log.warning("%s cannot be tested for drift: %s", serving.name, error)
                return None

        test = self._cached(("test", serving.uri, *settings.values()), build)
        if test is None:
            return None
        verdict = test.test(rows)
        return DriftFacts(
            test=spec.test,
            statistic=verdict.statistic,
            threshold=verdict.threshold,
            p_value=verdict.p_value,
            drifted=verdict.drifted,
            window=spec.window,
            revision=serving.name,
            channels=verdict.channels,
        )

    def _trim(self, name: str, until: int) -> None:
        self._db.execute(
            "UPDATE blocks SET data = NULL WHERE detector = ? AND data IS NOT NULL AND upto <= ?",
            (name, until),
        )
        self._db.execute(
            "DELETE FROM blocks WHERE detector = ? AND data IS NULL AND number <="
            " (SELECT max(number) FROM blocks) - ?",
            (name, _REMEMBERED),
        )

    def _fitted(self, serving: Revision) -> Fitted:
        def load() -> Fitted:
            try:
                return self._load(serving.uri)
            except (artifact.ArtifactError, ValueError) as error:
                raise Retry(f"{serving.name} cannot be loaded: {error}", after=30) from error

        return self._cached(("fitted", serving.uri), load)

    def _cached(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        """What `make` made last time; the least used go first."""
        if key not in self._cache:
            self._cache[key] = make()
            while len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        found: T = self._cache[key]
        return found

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _key(context: Context) -> str:
    # KServe's request and response share id and source, so the type belongs to the key.
    return " ".join((context.source, context.id, context.type))


def _facts(document: bytes | None) -> DriftFacts | None:
    if document is None:
        return None
    fields = orjson.loads(document)
    return DriftFacts(**{**fields, "channels": tuple(fields["channels"])})


def _rows(event: InferenceRequest, channels: tuple[str, ...], gaps: bool) -> Rows:
    """(n, c) rows of a V1 or V2 payload, less those with `gaps` if there may be any. Of a window it is the
    last row, the one that is scored: windows overlap, and what came before was asked about already."""
    try:
        if event.inputs is not None:
            values = _tensor(event.inputs, channels, gaps)
        else:
            given = {} if event.instances is None else {"instances": event.instances}
            values = protocol.instances(given, channels, gaps)
    except protocol.InputError as error:
        said, _, mend = str(error).partition(": send ")
        field, _, value = said.partition(" is ")
        raise Reject(Fault(f"data.{field}", value, f"send {mend}")) from None
    asked = values if values.ndim == 2 else values[:, -1]
    return np.ascontiguousarray(asked[np.isfinite(asked).all(axis=1)], np.float32)


def _tensor(inputs: list[Any], channels: tuple[str, ...], gaps: bool) -> NDArray[np.float64]:
    if len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise protocol.InputError("inputs", f"{len(inputs)} entries, not one tensor", channels)
    one = inputs[0]
    shape, name = one.get("shape"), str(one.get("name", ""))
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise protocol.InputError(f"inputs.{name[:40]}.shape", "no list of whole numbers", channels)
    return protocol.tensor(name, shape, str(one.get("datatype")), one.get("data"), channels, gaps)
