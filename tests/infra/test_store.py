"""Detectors in one SQLite file: compare-and-swap, and outcomes that survive until they are carried out."""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from homeostat.eventing.messages import StartTraining
from homeostat.eventing.wire import WireEvent
from homeostat.functions.detector import Status
from homeostat.infra.local.store import Store
from homeostat.infra.outcome import Claim, Outcome
from homeostat.infra.trouble import Trouble
from tests.functions.detectors import NOON, batch, cause, detector, spec

COMMAND = StartTraining(
    run="pump-1",
    detector="pump",
    data=("a.csv",),
    candidates=("autoencoder",),
    parameters={"autoencoder": {"epochs": 3}},
    champion=None,
)
OUTCOME = Outcome(
    detector=detector(batches=(batch(),)),
    commands=[COMMAND],
    events=[WireEvent({"id": "1", "source": "/x", "type": "t", "specversion": "1.0"}, b"\x00\xff")],
)
NOTHING = Outcome(detector=detector(), commands=[], events=[])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "state" / "detectors.db")) as one:
        one.apply("pump", spec())
        yield one


def version(store: Store, name: str = "pump") -> int:
    found = store.snapshot(name, NOON, cause())
    assert found is not None
    return found[1]


def status(store: Store, name: str = "pump") -> Status:
    found = store.snapshot(name, NOON, cause())
    assert found is not None
    return found[0].status


def test_applying_says_what_it_did(store: Store) -> None:
    assert store.apply("fan", spec()) == "created"
    assert store.apply("fan", spec()) == "unchanged"
    assert store.apply("fan", spec("suggest")) == "changed"
    assert store.names() == ["fan", "pump"]


def test_a_changed_spec_keeps_the_status(store: Store) -> None:
    assert store.commit("pump", version(store), Status(new_rows=7), "k", NOTHING)
    store.apply("pump", spec("suggest"))
    found = store.snapshot("pump", NOON, cause())
    assert found is not None
    assert found[0].spec.mode == "suggest"
    assert found[0].status.new_rows == 7


def test_a_changed_spec_makes_decisions_under_the_old_one_stale(store: Store) -> None:
    before = version(store)
    store.apply("pump", spec("suggest"))
    assert not store.commit("pump", before, Status(new_rows=7), "k", NOTHING)


def test_a_snapshot_carries_the_time_and_the_cause(store: Store) -> None:
    found = store.snapshot("pump", NOON, cause("why"))
    assert found is not None
    assert (found[0].name, found[0].now, found[0].cause) == ("pump", NOON, cause("why"))
    assert store.snapshot("fan", NOON, cause()) is None


def test_the_slower_of_two_changes_nothing(store: Store) -> None:
    before = version(store)
    assert store.commit("pump", before, Status(new_rows=1), "first", OUTCOME)
    assert not store.commit("pump", before, Status(new_rows=2), "second", OUTCOME)
    assert status(store).new_rows == 1
    assert store.claimed("pump", "second") is None


def test_an_event_is_claimed_once_even_on_a_fresh_version(store: Store) -> None:
    assert store.commit("pump", version(store), Status(new_rows=1), "same", OUTCOME)
    assert not store.commit("pump", version(store), Status(new_rows=2), "same", OUTCOME)
    assert status(store).new_rows == 1
    assert store.commit("pump", version(store), Status(new_rows=3), "other", OUTCOME), "nothing stays locked"


def test_an_outcome_is_kept_until_it_is_carried_out(store: Store) -> None:
    assert store.claimed("pump", "k") is None
    store.commit("pump", version(store), Status(), "k", OUTCOME)
    assert store.claimed("pump", "k") == Claim(OUTCOME)
    assert store.claimed("fan", "k") is None
    store.carried_out("pump", "k", NOON)
    assert store.claimed("pump", "k") == Claim(None)


def test_an_empty_outcome_has_nothing_to_carry_out(store: Store) -> None:
    store.commit("pump", version(store), Status(new_rows=1), "k", NOTHING)
    assert store.claimed("pump", "k") == Claim(None)


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "detectors.db"
    with closing(Store(path)) as first:
        first.apply("pump", spec())
        first.commit("pump", version(first), OUTCOME.detector.status, "k", OUTCOME)
    with closing(Store(path)) as second:
        assert status(second) == OUTCOME.detector.status
        assert second.claimed("pump", "k") == Claim(OUTCOME)


def test_old_claims_go_but_what_is_still_to_be_done_stays(tmp_path: Path) -> None:
    path = tmp_path / "detectors.db"
    with closing(Store(path)) as first:
        first.apply("pump", spec())
        for key in ("done", "open"):
            first.commit("pump", version(first), Status(), key, OUTCOME)
        first.carried_out("pump", "done", NOON)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE outcomes SET claimed = claimed - 8 * 86400")
    with closing(Store(path)) as second:
        assert second.claimed("pump", "done") is None
        assert second.claimed("pump", "open") == Claim(OUTCOME)


TROUBLE = Trouble("Forbidden", "grant it", NOON)
TELLING = OUTCOME.events[0]


def test_what_hinders_is_kept_with_the_outcome_once_by_kind(tmp_path: Path) -> None:
    path = tmp_path / "detectors.db"
    later = NOON + timedelta(hours=1)
    with closing(Store(path)) as first:
        first.apply("pump", spec())
        first.commit("pump", version(first), Status(), "k", replace(OUTCOME, function="roll-out"))
        assert first.documents()[0]["status"].get("hindered") is None
        assert first.hindered("pump", "k", TROUBLE, TELLING)
        assert not first.hindered("pump", "k", Trouble("Forbidden", "in other words", later), TELLING)
    with closing(Store(path)) as second:
        claimed = second.claimed("pump", "k")
        assert claimed is not None
        assert claimed.outcome is not None
        assert claimed.outcome.trouble == TROUBLE
        assert claimed.outcome.commands == [COMMAND]
        stated = {"function": "roll-out", "kind": "Forbidden", "reason": "grant it"}
        assert second.documents()[0]["status"]["hindered"] == [{**stated, "since": "2026-03-01T12:00:00Z"}]
        assert second.hindered("pump", "k", Trouble("Timeout", "slow", later), TELLING)
        assert second.carried_out("pump", "k", later) == Trouble("Timeout", "slow", NOON)
        assert second.documents()[0]["status"].get("hindered") is None
        assert not second.hindered("pump", "k", TROUBLE, TELLING), "nothing is left to do"
        assert second.carried_out("pump", "k", later) is None


def test_what_an_earlier_version_stored_is_read(store: Store) -> None:
    dumped = OUTCOME.dump()
    older = {name: dumped[name] for name in ("detector", "commands", "events")}
    assert Outcome.load(older) == OUTCOME


def test_documents_are_manifests_with_their_status(store: Store) -> None:
    (document,) = store.documents()
    assert document["kind"] == "Detector"
    assert document["metadata"] == {"name": "pump"}
    assert document["spec"]["data"]["channels"] == ["Current"]
    assert document["status"]["new_rows"] == 0


# --- beside other processes ---------------------------------------------------------------------------------
TIMES = 200


def add_rows(path: Path, worker: int, together: Barrier) -> None:
    """Add one row as often as `TIMES` says, deciding again whenever somebody else was faster."""
    together.wait()
    with closing(Store(path)) as store:
        store.apply("pump", spec())
        for place in range(TIMES):
            while True:
                found = store.snapshot("pump", NOON, cause())
                assert found is not None
                one, seen = found
                after = one.status.model_copy(update={"new_rows": one.status.new_rows + 1})
                if store.commit("pump", seen, after, f"{worker}/{place}", OUTCOME):
                    break


def test_two_processes_on_one_new_file_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "detectors.db"
    spawn = multiprocessing.get_context("spawn")
    together = spawn.Barrier(2)
    workers = [spawn.Process(target=add_rows, args=(path, worker, together)) for worker in range(2)]
    for one in workers:
        one.start()
    for one in workers:
        one.join(60)
    assert [one.exitcode for one in workers] == [0, 0]
    with closing(Store(path)) as store:
        assert status(store).new_rows == 2 * TIMES
        assert store.claimed("pump", f"1/{TIMES - 1}") == Claim(OUTCOME)
