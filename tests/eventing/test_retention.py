"""The log is kept by age and by size, never less than somebody still waits for."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from homeostat.eventing.broker import Broker
from homeostat.eventing.broker import store as store_module
from homeostat.eventing.broker.log import EventLog
from homeostat.eventing.broker.retention import Forgetting, Retention
from homeostat.eventing.broker.store import BrokerStore
from homeostat.eventing.errors import Retry
from tests.eventing.brokers import FAST, Subscriber, event, manifests, until

LARGE = b'"' + b"x" * 4000 + b'"'


async def filled(path: Path, count: int) -> BrokerStore:
    store = BrokerStore(path)
    await store.append([event(str(one), data=LARGE) for one in range(count)])
    return store


def test_events_older_than_their_age_are_deleted_once_everybody_is_done_with_them(tmp_path: Path) -> None:
    async def story() -> None:
        store = await filled(tmp_path / "broker.db", 1200)
        forgetting = Forgetting(Retention(age=timedelta(0)), store, lambda: 700)
        await asyncio.sleep(0.01)
        assert await forgetting.once() == 700
        assert [one.sequence for one in store.log.events(0, 2)] == [701, 702]
        store.close()

    asyncio.run(story())


def test_the_oldest_go_while_the_file_is_too_large_and_their_space_is_given_back(tmp_path: Path) -> None:
    async def story() -> None:
        store = await filled(tmp_path / "broker.db", 3000)
        large = store.log.size()
        forgetting = Forgetting(Retention(size=large // 2), store, lambda: 3000)
        assert 0 < await forgetting.once() < 3000
        assert store.log.size() <= large // 2
        assert not forgetting.full
        store.close()
        pages = EventLog(tmp_path / "broker.db")
        pages.close()
        assert (tmp_path / "broker.db").stat().st_size < large * 0.7

    asyncio.run(story())


def test_dead_letters_outlive_the_age(tmp_path: Path) -> None:
    async def story() -> None:
        store = await filled(tmp_path / "broker.db", 10)
        await store.bury("listener", 3, "there", 500, "why", False)
        await asyncio.sleep(0.01)
        assert await Forgetting(Retention(age=timedelta(0)), store, lambda: 10).once() == 9
        (letter,) = store.log.dead()
        assert letter.event.attributes["id"] == "2"
        store.close()

    asyncio.run(story())


def test_numbers_are_not_given_out_again_when_all_events_are_gone(tmp_path: Path) -> None:
    async def story() -> None:
        store = await filled(tmp_path / "broker.db", 10)
        await store.register(["listener"])
        store.advanced("listener", 10)
        await asyncio.sleep(0.05)
        await Forgetting(Retention(age=timedelta(0)), store, lambda: 10).once()
        store.close()
        store = BrokerStore(tmp_path / "broker.db")
        await store.append([event("new")])
        assert [one.sequence for one in store.log.events()] == [11]
        store.close()

    asyncio.run(story())


def test_a_file_full_of_undelivered_events_takes_no_more_and_says_when_to_come_again(tmp_path: Path) -> None:
    async def story() -> None:
        listener = Subscriber(lambda *_: 503)
        broker = Broker(
            tmp_path / "broker.db",
            manifests(tmp_path, {**FAST, "retry": 1000, "backoffDelay": "PT0.2S"}),
            lambda _: listener,
            retention=Retention(size=100_000, every=timedelta(seconds=0.05)),
        )
        await broker.start()
        await broker.accept([event(str(one), data=LARGE) for one in range(100)])

        async def refused() -> bool:
            try:
                await broker.accept([event("more")])
            except Retry as retry:
                return retry.after > 1
            return False

        for _ in range(100):
            if await refused():
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail("it took more and more")
        await until(lambda: len(listener.got) >= 1)
        await broker.stop(0)

    asyncio.run(story())


def test_what_is_written_beside_a_compaction_that_fails_stays_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        store = await filled(tmp_path / "broker.db", 10)
        monkeypatch.setattr(store_module, "_COMPACT", "no such statement")
        await asyncio.gather(store.forget([1, 2]), store.append([event("beside")]))
        await store.append([event("after"), event("beside")])
        store.close()

    asyncio.run(story())
    log = EventLog(tmp_path / "broker.db")
    assert [one.event.attributes["id"] for one in log.events()][-2:] == ["beside", "after"]
    assert log.events()[0].sequence == 3
    log.close()
