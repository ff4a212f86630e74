"""A SQLite file that outlives its pod: copies of it in an object store.

A copy is taken by SQLite's backup API (one moment of the file, whoever writes to it meanwhile), compressed,
and put under a name of its own that says which copy it is and what its bytes are: NUMBER-SHA256.db.gz. So
nothing is ever overwritten, half of a copy is told from a whole one, and the one before it stands in for a
damaged one.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import logging
import os
import re
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

EVERY_SECONDS = 60.0
MOST_BYTES = 256 * 1024 * 1024
"""Of the file itself: what a pod's emptyDir holds twice beside it."""
COPIES = 2
_NAME = re.compile(r"([0-9]{10})-([0-9a-f]{64})\.db\.gz")
_CHUNK = 1 << 20


class Kept:
    """The copies of `db` under `place`, a folder's URL (s3://bucket/state/detect-drift). Thread-safe.

    One process writes the file. Two may overlap while one takes over from the other: what the leaving one
    learnt after the other had started is lost, as is what no copy was made of when a node dies.
    """

    def __init__(self, db: Path, place: str, most_bytes: int = MOST_BYTES) -> None:
        self._db, self._place, self._most = db, place.rstrip("/"), most_bytes
        self._lock = threading.Lock()
        self._watched: sqlite3.Connection | None = None
        self._version: int | None = None

    def restore(self) -> bool:
        """Where there is no file, put the newest whole copy there; before anybody opens it.

        False when there was a file, no copy, or none that can be used: that is logged, and work starts
        afresh.
        """
        if self._db.exists():
            return False
        self._db.parent.mkdir(parents=True, exist_ok=True)
        try:
            store, _ = _store(self._place)
            names = list(reversed(self._names()))
        except Exception as error:  # noqa: BLE001 - each store's client raises its own
            log.warning("%s cannot be looked at, so what was kept there is not used: %s", self._place, error)
            return False
        for name in names:
            with _beside(self._db) as fresh:
                try:
                    _fetch(store, name, fresh, self._most)
                    _check(fresh)
                except Exception as error:  # noqa: BLE001 - the copy before it may do
                    log.warning("%s is not used: %s", name, error)
                    continue
                fresh.replace(self._db)
                return True
        return False

    def save(self) -> bool:
        """Put a copy there, if the file has changed since the last one. Raises what the store's client
        raises, and ValueError for a file that is too large to be kept."""
        with self._lock:
            if not self._db.exists():
                return False
            before = self._changes()
            if before == self._version:
                return False
            with _beside(self._db) as copy, _beside(self._db) as packed:
                _back_up(self._db, copy)
                if copy.stat().st_size > self._most:
                    raise ValueError(
                        f"{self._db} has {copy.stat().st_size} bytes: no copy is made of over {self._most}"
                    )
                digest = _pack(copy, packed)
                copy.unlink()
                self._put(packed, digest)
            self._version = before
            return True

    @contextlib.asynccontextmanager
    async def running(self, every: float = EVERY_SECONDS) -> AsyncIterator[None]:
        """Save now and then, and once more at the end. Failures are logged: work goes on without copies."""

        async def again() -> None:
            while True:
                await asyncio.sleep(every)
                await asyncio.to_thread(self._try)

        task = asyncio.create_task(again(), name=f"kept {self._db.name}")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.to_thread(self._try)

    def _try(self) -> None:
        try:
            self.save()
        except Exception:
            log.warning("%s could not be copied to %s", self._db, self._place, exc_info=True)

    def _changes(self) -> int:
        """Another number whenever somebody else has committed to the file; of one connection."""
        if self._watched is None:
            self._watched = sqlite3.connect(self._db, check_same_thread=False)
        (found,) = self._watched.execute("PRAGMA data_version").fetchone()
        return int(found)

    def _put(self, packed: Path, digest: str) -> None:
        store, folder = _store(self._place)
        names = self._names()
        number = _number(names[-1]) + 1 if names else 1
        store.makedirs(folder, exist_ok=True)
        store.put_file(str(packed), f"{folder}/{number:010}-{digest}.db.gz")
        for old in names[: max(0, len(names) + 1 - COPIES)]:
            store.rm_file(old)

    def _names(self) -> list[str]:
        """Paths of the copies, the oldest first."""
        store, folder = _store(self._place)
        store.invalidate_cache()
        try:
            found = store.ls(folder, detail=False)
        except FileNotFoundError:
            return []
        return sorted(path for path in found if _NAME.fullmatch(path.rpartition("/")[2]))


def _store(place: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    store, folder = url_to_fs(place)
    return store, folder.rstrip("/")


def _number(path: str) -> int:
    return int(path.rpartition("/")[2].partition("-")[0])


@contextlib.contextmanager
def _beside(db: Path) -> Iterator[Path]:
    """A file of the same folder that is gone afterwards, unless it was moved."""
    handle, name = tempfile.mkstemp(prefix=f".{db.name}.", dir=db.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _back_up(db: Path, copy: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(db)) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")  # one file, nothing beside it


def _pack(copy: Path, packed: Path) -> str:
    """Returns the SHA-256 of what was written, in hexadecimal digits."""
    with copy.open("rb") as source, gzip.GzipFile(packed, "wb", compresslevel=1, mtime=0) as target:
        shutil.copyfileobj(source, target, _CHUNK)
    with packed.open("rb") as written:
        return hashlib.file_digest(written, "sha256").hexdigest()


def _fetch(store: Any, name: str, fresh: Path, most: int) -> None:
    """Raises ValueError for other bytes than the name says, or more than there may be."""
    stated = _NAME.fullmatch(name.rpartition("/")[2])
    with _beside(fresh) as packed:
        if store.info(name)["size"] > most:
            raise ValueError(f"it has over {most} bytes")
        store.get_file(name, str(packed))
        with packed.open("rb") as read:
            if stated is None or hashlib.file_digest(read, "sha256").hexdigest() != stated[2]:
                raise ValueError("it is damaged: its digest is not the one in its name")
        with gzip.open(packed) as source, fresh.open("wb") as target:
            while chunk := source.read(_CHUNK):
                if target.tell() + len(chunk) > most:
                    raise ValueError(f"it unpacks to over {most} bytes")
                target.write(chunk)


def _check(fresh: Path) -> None:
    """Raises ValueError, or sqlite3.Error, for what is no whole database of plain tables."""
    with contextlib.closing(sqlite3.connect(fresh)) as db:
        db.execute("PRAGMA trusted_schema=OFF")
        if (said := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise ValueError(f"it is damaged: {said}")
        odd = "type NOT IN ('table', 'index') OR sql LIKE 'CREATE VIRTUAL%'"
        if found := db.execute(f"SELECT name FROM sqlite_master WHERE {odd}").fetchone():  # noqa: S608
            raise ValueError(f"it has {found[0]!r}, which is neither table nor index: it is not ours")
