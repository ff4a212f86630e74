"""What a pod knew is there when the next one starts, and nothing else gets in."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from homeostat.infra.observing.kept import COPIES, Kept

PLACE = "memory://state/detect-drift"


@pytest.fixture
def store() -> Iterator[Any]:
    found = fsspec.filesystem("memory")
    yield found
    found.store.clear()


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "pod" / "drift.db"


def write(db: Path, value: int) -> None:
    db.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(db)) as one, one:
        one.execute("PRAGMA journal_mode=WAL")
        one.execute("CREATE TABLE IF NOT EXISTS facts (value INTEGER)")
        one.execute("INSERT INTO facts VALUES (?)", (value,))


def values(db: Path) -> list[int]:
    with contextlib.closing(sqlite3.connect(db)) as one:
        return [value for (value,) in one.execute("SELECT value FROM facts ORDER BY rowid")]


def moved(tmp_path: Path, place: str = PLACE) -> tuple[Path, bool]:
    """Another pod's file, and whether it was restored."""
    other = tmp_path / "next" / "drift.db"
    return other, Kept(other, place).restore()


@pytest.mark.parametrize("place", [PLACE, "s3://plant/state/detect-drift", "file://{}/state"])
def test_the_next_pod_finds_what_this_one_knew(
    db: Path, tmp_path: Path, place: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("s3" if place.startswith("s3") else "store")
    place = place.format(tmp_path)
    write(db, 1)
    kept = Kept(db, place)
    assert kept.save()
    write(db, 2)
    assert kept.save()
    other, found = moved(tmp_path, place)
    assert found
    assert values(other) == [1, 2]
    write(other, 3)
    assert Kept(other, place).save()
    third = tmp_path / "third" / "drift.db"
    assert Kept(third, place).restore()
    assert values(third) == [1, 2, 3]


def test_nothing_is_sent_while_nothing_changes(store: Any, db: Path) -> None:
    write(db, 1)
    kept = Kept(db, PLACE)
    assert [kept.save() for _ in range(3)] == [True, False, False]
    write(db, 2)
    assert [kept.save() for _ in range(3)] == [True, False, False]


def test_a_few_copies_are_kept_and_the_last_is_the_newest(store: Any, db: Path, tmp_path: Path) -> None:
    kept = Kept(db, PLACE)
    for value in range(12):
        write(db, value)
        kept.save()
    assert len(store.ls("/state/detect-drift")) == COPIES
    assert values(moved(tmp_path)[0]) == list(range(12))
    assert not [one.name for one in db.parent.iterdir() if one.name.startswith(".")]


def test_a_file_that_is_there_is_never_replaced(store: Any, db: Path, tmp_path: Path) -> None:
    write(db, 1)
    Kept(db, PLACE).save()
    write(db, 2)
    assert not Kept(db, PLACE).restore()
    assert values(db) == [1, 2]


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty"])
def test_the_copy_before_stands_in_for_a_damaged_one(
    store: Any, db: Path, tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept(db, PLACE)
    for value in (1, 2):
        write(db, value)
        kept.save()
    newest = sorted(store.ls("/state/detect-drift", detail=False))[-1]
    whole = store.cat(newest)
    flipped = bytes([*whole[:-1], whole[-1] ^ 1])
    store.pipe(newest, {"cut": whole[: len(whole) // 2], "flipped": flipped, "empty": b""}[harm])
    other, found = moved(tmp_path)
    assert found
    assert values(other) == [1]
    assert "digest is not the one in its name" in caplog.text


def put(store: Any, content: bytes) -> None:
    """As if we had put it there ourselves."""
    packed = gzip.compress(content)
    store.pipe(f"/state/detect-drift/0000000009-{hashlib.sha256(packed).hexdigest()}.db.gz", packed)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"cbuiltins\neval\n", "file is not a database"),
        (b"\0" * (1 << 20), "file is not a database"),
        (b"\0" * (1 << 22), "unpacks to over"),
    ],
)
def test_what_is_no_database_or_too_large_is_not_used(
    store: Any, tmp_path: Path, content: bytes, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, content)
    other = tmp_path / "next" / "drift.db"
    assert not Kept(other, PLACE, most_bytes=1 << 21).restore()
    assert said in caplog.text
    assert list(other.parent.iterdir()) == []


def test_a_database_that_would_act_is_not_ours(
    store: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = tmp_path / "made.db"
    write(made, 1)
    with contextlib.closing(sqlite3.connect(made)) as one, one:
        one.execute("PRAGMA journal_mode=DELETE")
        one.execute("CREATE TRIGGER acts AFTER INSERT ON facts BEGIN DELETE FROM facts; END")
    put(store, made.read_bytes())
    assert moved(tmp_path)[1] is False
    assert "'acts', which is neither table nor index" in caplog.text


def test_other_names_are_nothing_of_ours(store: Any, tmp_path: Path) -> None:
    store.pipe("/state/detect-drift/0000000001-abc.db.gz", b"x")
    store.pipe("/state/detect-drift/notes.txt", b"x")
    assert moved(tmp_path)[1] is False


def test_a_store_that_is_not_there_keeps_nobody_from_working(
    db: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert not Kept(db, "nosuch://state").restore()
    assert "nosuch://state cannot be looked at" in caplog.text

    async def work() -> None:
        async with Kept(db, "nosuch://state").running():
            write(db, 1)

    asyncio.run(work())
    assert "could not be copied" in caplog.text


def test_a_file_that_is_too_large_is_not_copied(store: Any, db: Path) -> None:
    write(db, 1)
    with pytest.raises(ValueError, match="no copy is made of over 4096"):
        Kept(db, PLACE, most_bytes=4096).save()
    assert store.find("/state") == []


def test_while_it_runs_it_saves_and_once_more_at_the_end(store: Any, db: Path, tmp_path: Path) -> None:
    async def work() -> None:
        async with Kept(db, PLACE).running(every=0.02):
            write(db, 1)
            while not store.find("/state"):  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(0.01)
            write(db, 2)

    asyncio.run(work())
    assert values(moved(tmp_path)[0]) == [1, 2]


def test_a_copy_is_one_moment_of_a_file_that_is_written_to(store: Any, db: Path, tmp_path: Path) -> None:
    """Two tables that are always changed together are never found apart."""
    db.parent.mkdir()
    ended = threading.Event()
    with contextlib.closing(sqlite3.connect(db, check_same_thread=False, isolation_level=None)) as one:
        one.execute("PRAGMA journal_mode=WAL")
        one.executescript("CREATE TABLE a (x); CREATE TABLE b (x);")

        def busy() -> None:
            while not ended.is_set():
                one.executescript("BEGIN; INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); COMMIT;")

        writer = threading.Thread(target=busy)
        writer.start()
        kept = Kept(db, PLACE)
        try:
            for turn in range(5):
                kept.save()
                other = tmp_path / f"next-{turn}.db"
                assert Kept(other, PLACE).restore()
                with contextlib.closing(sqlite3.connect(other)) as copy:
                    a, b = (copy.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in "ab")  # noqa: S608
                assert a == b
        finally:
            ended.set()
            writer.join()
