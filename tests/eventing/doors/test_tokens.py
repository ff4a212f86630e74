"""Tokens: shown once, kept as digests, valid side by side, gone without a restart."""

from __future__ import annotations

import json
import stat
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from homeostat.eventing.doors import DOORS, Tokens
from homeostat.eventing.doors.token_file import create, entries, reopen, revoke
from homeostat.eventing.errors import Reject


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "tokens.json"


def test_a_token_opens_its_own_door_and_names_it(path: Path) -> None:
    made = {door: create(path, door)[1] for door in DOORS}
    tokens = Tokens(path)
    assert {door: tokens.door_of(token.encode()) for door, token in made.items()} == {d: d for d in DOORS}
    assert all(token.startswith(f"hst_{door}_") and len(token) >= 43 for door, token in made.items())
    assert len(set(made.values())) == len(DOORS)


def test_the_file_holds_no_token_and_is_its_owners_alone(path: Path) -> None:
    _, token = create(path, "broker", "one")
    assert token.encode() not in path.read_bytes()
    assert token.removeprefix("hst_broker_").encode() not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_nearly_the_token_is_not_it(path: Path) -> None:
    _, token = create(path, "broker")
    tokens = Tokens(path)
    twins = [token[:-1], token + "x", token.swapcase(), token.replace("broker", "admin"), "", "hst_broker_"]
    twins += [json.loads(path.read_text())["tokens"][0]["sha256"]]
    assert [tokens.door_of(one.encode()) for one in twins] == [None] * len(twins)


def test_every_digest_is_compared_in_constant_time_and_none_is_skipped(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [create(path, "broker")[1] for _ in range(4)]
    tokens = Tokens(path)
    compared = []
    genuine = __import__("hmac").compare_digest

    def watching(held: bytes, given: bytes) -> bool:
        compared.append((len(held), len(given)))
        return bool(genuine(held, given))

    monkeypatch.setattr("homeostat.eventing.doors.tokens.hmac.compare_digest", watching)
    for token in (made[0], made[3], "nonsense"):
        compared.clear()
        tokens.door_of(token.encode())
        assert compared == [(32, 32)] * 4


def test_two_tokens_hold_at_once_so_that_one_can_be_replaced_without_a_restart(path: Path) -> None:
    clock = Clock()
    _, old = create(path, "broker", "old")
    tokens = Tokens(path, clock)
    _, new = create(path, "broker", "new")
    assert tokens.door_of(new.encode()) is None, "the file is looked at once a second, not at each request"
    clock.at += 1.1
    assert [tokens.door_of(one.encode()) for one in (old, new)] == ["broker", "broker"]
    revoke(path, "old")
    clock.at += 1.1
    assert [tokens.door_of(one.encode()) for one in (old, new)] == [None, "broker"]


def test_an_expired_token_opens_nothing_and_its_door_stays_closed(path: Path) -> None:
    entry, token = create(path, "broker", expires=timedelta(hours=1))
    now = Clock()
    now.at = entry.until - 1
    tokens = Tokens(path, now=now)
    assert tokens.door_of(token.encode()) == "broker"
    assert tokens.valid("broker") == 1
    now.at = entry.until + 1
    assert tokens.door_of(token.encode()) is None
    assert tokens.valid("broker") == 0
    assert tokens.closed("broker")


def test_revoking_the_last_token_does_not_open_the_door_but_reopen_does(path: Path) -> None:
    clock = Clock()
    create(path, "broker", "only")
    tokens = Tokens(path, clock)
    with pytest.raises(Reject, match="revoke them first: only"):
        reopen(path, "broker")
    revoke(path, "only")
    clock.at += 1.1
    assert tokens.closed("broker")
    reopen(path, "broker")
    clock.at += 1.1
    assert not tokens.closed("broker")
    with pytest.raises(Reject, match="not closed"):
        reopen(path, "broker")


def test_a_door_that_never_had_a_token_is_not_closed_by_anothers(path: Path) -> None:
    create(path, "broker")
    tokens = Tokens(path)
    assert [door for door in DOORS if tokens.closed(door)] == ["broker"]


def test_the_homes_own_token_lives_in_memory_only(path: Path) -> None:
    tokens = Tokens(path)
    own = tokens.admit("broker")
    assert tokens.door_of(own.encode()) == "broker"
    assert not tokens.closed("broker"), "it must not close an open door"
    assert not path.exists()
    assert Tokens(path).door_of(own.encode()) is None


def test_the_homes_own_token_outlives_a_change_of_the_file(path: Path) -> None:
    clock = Clock()
    tokens = Tokens(path, clock)
    own = tokens.admit("broker")
    create(path, "broker")
    clock.at += 1.1
    assert tokens.door_of(own.encode()) == "broker"


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"version": 2}', b'{"tokens": [{"name": "x"}]}', b"\xff\xfe", b"null"]
)
def test_a_damaged_file_is_refused_at_the_start_and_changes_nothing_later(path: Path, damage: bytes) -> None:
    clock = Clock()
    _, token = create(path, "broker")
    tokens = Tokens(path, clock)
    path.write_bytes(damage)
    clock.at += 1.1
    assert tokens.door_of(token.encode()) == "broker"
    assert tokens.closed("broker")
    with pytest.raises(Reject, match=r"tokens\.json"):
        Tokens(path)
    with pytest.raises(Reject, match=r"tokens\.json"):
        create(path, "broker")


def test_a_damaged_file_is_told_without_what_is_in_it(path: Path) -> None:
    create(path, "broker")
    document = json.loads(path.read_text())
    secret = document["tokens"][0]["sha256"] = "5ec7e7" * 10
    path.write_text(json.dumps(document))
    with pytest.raises(Reject) as told:
        Tokens(path)
    assert secret not in str(told.value)


def test_a_file_that_vanishes_opens_no_door(path: Path) -> None:
    clock = Clock()
    create(path, "broker")
    tokens = Tokens(path, clock)
    path.unlink()
    clock.at += 1.1
    assert tokens.closed("broker")


def test_a_file_that_others_can_read_is_refused_with_the_mend(path: Path) -> None:
    create(path, "broker")
    path.chmod(0o640)
    with pytest.raises(Reject, match="chmod 600"):
        Tokens(path)


def test_every_fault_of_a_wrong_wish_is_told_at_once(path: Path) -> None:
    with pytest.raises(Reject) as told:
        create(path, "cellar", "../evil", timedelta(days=-1))
    assert [one.field for one in told.value.faults] == ["door", "name", "expires"]
    assert not path.exists()


def test_a_name_is_given_once(path: Path) -> None:
    create(path, "broker", "one")
    with pytest.raises(Reject, match="taken"):
        create(path, "admin", "one")
    with pytest.raises(Reject, match="home's own"):
        create(path, "broker", "home")
    with pytest.raises(Reject, match="known: one"):
        revoke(path, "two")


def test_tokens_made_at_once_are_all_kept(path: Path) -> None:
    makers = [threading.Thread(target=create, args=(path, "broker", f"n{i}")) for i in range(12)]
    for one in makers:
        one.start()
    for one in makers:
        one.join()
    assert {one.name for one in entries(path).tokens} == {f"n{i}" for i in range(12)}
    assert list(path.parent.glob(".tokens*")) == []
