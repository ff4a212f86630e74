"""The broker's file: duplicates, older versions, damage, and senders that are too fast for the disk."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.broker import store as store_module
from homeostat.eventing.broker.duplicates import Duplicates
from homeostat.eventing.broker.log import EventLog
from homeostat.eventing.broker.schema import VERSION, DamagedStore, connect, repaired
from homeostat.eventing.broker.store import BrokerStore
from homeostat.eventing.errors import Retry
from tests.eventing.brokers import event

VERSION_1 = """
CREATE TABLE events (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  source TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
  attributes BLOB NOT NULL, data BLOB, accepted REAL NOT NULL,
  UNIQUE (source, id, type)
);
CREATE TABLE cursors (trigger TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE done (trigger TEXT, sequence INTEGER, PRIMARY KEY (trigger, sequence)) WITHOUT ROWID;
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
PRAGMA user_version = 1;
"""


def stored(path: Path) -> list[str]:
    log = EventLog(path)
    found = [one.event.attributes["id"] for one in log.events(0, 100_000)]
    log.close()
    return found


def test_a_duplicate_is_known_in_its_group_later_and_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"

    async def story() -> None:
        store = BrokerStore(path)
        await store.append([event("1"), event("1"), event("2")])
        await asyncio.gather(store.append([event("2")]), store.append([event("3")]))
        store.close()
        store = BrokerStore(path)
        await store.append([event("3"), event("1", kind="other")])
        assert (store.accepted, store.duplicates) == (1, 1)
        store.close()

    asyncio.run(story())
    assert stored(path) == ["1", "2", "3", "1"]


def test_a_flood_of_one_type_does_not_make_another_forgotten() -> None:
    window = Duplicates(window=100, most=1000)
    alert = {"source": "/a", "id": "alert", "type": "alert"}
    assert window.add(alert)
    for one in range(5000):
        assert window.add({"source": "/k", "id": str(one), "type": "payload"})
    assert not window.add(alert)
    assert not window.add({"source": "/k", "id": "4999", "type": "payload"})
    assert window.add({"source": "/k", "id": "0", "type": "payload"})


def test_all_types_together_are_bounded() -> None:
    window = Duplicates(window=10, most=50)
    for one in range(1000):
        window.add({"source": "/a", "id": str(one), "type": f"t{one % 300}"})
    assert sum(map(len, window._seen.values())) <= 51


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5)), max_size=60))
def test_within_the_window_an_event_is_new_exactly_once(names: list[tuple[str, int]]) -> None:
    window, seen = Duplicates(), set()
    for kind, number in names:
        attributes = {"source": "/s", "id": str(number) * 100, "type": kind}
        assert window.add(attributes) == ((kind, number) not in seen)
        seen.add((kind, number))


def test_what_could_not_be_written_is_no_duplicate_when_it_comes_again(tmp_path: Path) -> None:
    async def story() -> None:
        store = BrokerStore(tmp_path / "broker.db")
        blocker = sqlite3.connect(tmp_path / "broker.db", isolation_level=None)
        store._db.execute("PRAGMA busy_timeout=50")
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(Retry, match="locked"):
            await store.append([event("1")])
        blocker.execute("ROLLBACK")
        blocker.close()
        await store.append([event("1")])
        assert store.accepted == 1
        store.close()

    asyncio.run(story())
    assert stored(tmp_path / "broker.db") == ["1"]


def test_senders_too_fast_for_the_disk_are_asked_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "MOST_WAITING", 100)

    async def story() -> None:
        store = BrokerStore(tmp_path / "broker.db")
        ends = await asyncio.gather(
            *(store.append([event(str(one))]) for one in range(300)), return_exceptions=True
        )
        refused = [one for one in ends if isinstance(one, Retry)]
        assert len(refused) == 200
        store.close()

    asyncio.run(story())


def test_a_file_of_the_first_version_is_brought_up_to_date_with_all_that_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    old = sqlite3.connect(path)
    old.executescript(VERSION_1)
    for one in range(5):
        wire = event(str(one))
        row = (*wire.key, orjson.dumps(dict(wire.attributes)), wire.data, 1.0)
        old.execute(
            "INSERT INTO events (source, id, type, attributes, data, accepted) VALUES (?,?,?,?,?,?)", row
        )
    old.execute("INSERT INTO cursors VALUES ('listener', 3)")
    old.execute("INSERT INTO dead VALUES (1, 'listener', 2, 'there', 500, 'why', 1.0)")
    old.commit()
    old.close()
    db = connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
    db.close()
    log = EventLog(path)
    assert (log.lag(), log.dead()[0].event.attributes["id"]) == ({"listener": 2}, "1")
    log.close()
    assert stored(path) == list("01234")


def test_a_file_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    connect(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    before = path.read_bytes()
    repaired(path)
    with pytest.raises(DamagedStore, match="newer Homeostat"):
        BrokerStore(path)
    assert path.read_bytes() == before


def test_a_damaged_file_says_what_was_saved_and_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"

    async def fill() -> None:
        store = BrokerStore(path)
        await store.register(["listener"])
        for start in range(0, 4000, 500):
            await store.append([event(str(one), data=b"x" * 200) for one in range(start, start + 500)])
        store.close()

    asyncio.run(fill())
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 5 * 4096] = b"\xff" * (5 * 4096)
    path.write_bytes(content)
    said: list[str] = []
    repaired(path, said.append)
    saved = stored(path)
    assert 3000 < len(saved) < 4000
    assert saved == sorted(saved, key=int)
    assert f"{len(saved)} events were saved, {4000 - len(saved)} could not be read" in said[0]
    assert "1 of cursors" in said[0]
    assert len(list(tmp_path.glob("broker.db.damaged-*"))) >= 1


@pytest.mark.parametrize("content", [b"this is no database" * 400, b"SQLite format 3\0" + b"\0" * 5000])
def test_a_file_that_is_no_database_is_moved_away_and_a_fresh_one_begun(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "broker.db"
    path.write_bytes(content)

    async def story() -> None:
        store = BrokerStore(path)
        await store.append([event("1")])
        store.close()

    asyncio.run(story())
    assert stored(path) == ["1"]
    (kept,) = tmp_path.glob("broker.db.damaged-*")
    assert kept.read_bytes() == content
