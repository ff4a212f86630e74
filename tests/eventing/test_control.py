"""Orders by hand: redriven, dropped, paused, replayed; while the broker runs, and before it starts."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from homeostat.eventing.broker.control import Control, NoSuch
from tests.eventing.brokers import FAST, Subscriber, event, running, until

ONCE = {**FAST, "retry": 0}


def everything(_: object) -> bool:
    return True


def test_a_redriven_dead_letter_is_delivered_and_gone(tmp_path: Path) -> None:
    async def story() -> None:
        listener = Subscriber(lambda identity, before: 500 if identity == "bad" and not before else 202)
        async with running(tmp_path, listener, ONCE) as broker:
            await broker.accept([event("bad"), event("good")])
            control = Control(tmp_path / "broker.db")
            await until(control.letters)
            (letter,) = control.letters()
            assert (letter.event.attributes["id"], letter.code) == ("bad", 500)
            assert control.redrive([letter]) == 1
            await until(lambda: listener.got.count("bad") == 2)
            await until(lambda: not control.log.wanted_again("listener"))
            assert control.letters() == []
            control.close()

    asyncio.run(story())


def test_a_redriven_letter_that_fails_again_is_a_dead_letter_with_its_new_reason(tmp_path: Path) -> None:
    async def story() -> None:
        listener = Subscriber(lambda _, before: 400 if before else 500)
        async with running(tmp_path, listener, ONCE) as broker:
            await broker.accept([event("bad")])
            control = Control(tmp_path / "broker.db")
            await until(control.letters)
            control.redrive(control.letters())
            await until(lambda: [one.code for one in control.letters()] == [400])
            control.close()

    asyncio.run(story())


def test_what_is_redriven_while_nobody_runs_is_delivered_at_the_next_start(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path, Subscriber(lambda *_: 500), ONCE) as broker:
            await broker.accept([event("bad", "pump")])
            await until(lambda: (tmp_path / "broker.db").exists())
            control = Control(tmp_path / "broker.db")
            await until(control.letters)
        control.redrive(control.letters())
        control.close()
        later = Subscriber()
        async with running(tmp_path, later, ONCE):
            await until(lambda: later.got == ["bad"])

    asyncio.run(story())


def test_a_dropped_letter_is_forgotten_and_an_unknown_one_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        listener = Subscriber(lambda *_: 500)
        async with running(tmp_path, listener, ONCE) as broker:
            await broker.accept([event("bad")])
            control = Control(tmp_path / "broker.db")
            await until(control.letters)
            with pytest.raises(NoSuch, match="no dead letter 77; there are: 1"):
                control.letters([77])
            assert control.drop(control.letters([1])) == 1
            await asyncio.sleep(0.7)
            assert (control.letters(), listener.got) == ([], ["bad"])
            control.close()

    asyncio.run(story())


def test_a_paused_trigger_rests_over_a_restart_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    async def story() -> None:
        listener = Subscriber()
        async with running(tmp_path, listener) as broker:
            await broker.accept([event("1")])
            await until(lambda: listener.got == ["1"])
            control = Control(tmp_path / "broker.db")
            assert control.pause("listener")
            assert not control.pause("listener")
            await asyncio.sleep(0.8)
            await broker.accept([event("2"), event("3")])
            await asyncio.sleep(0.2)
            (standing,) = control.triggers()
            assert (standing.lag, standing.paused, listener.got) == (2, True, ["1"])
        async with running(tmp_path, listener):
            await asyncio.sleep(0.2)
            assert listener.got == ["1"]
            control.resume("listener")
            await until(lambda: sorted(listener.got) == ["1", "2", "3"])
        control.close()

    asyncio.run(story())


def test_history_is_replayed_in_order_from_a_time_on(tmp_path: Path) -> None:
    async def story() -> None:
        listener = Subscriber()
        async with running(tmp_path, listener) as broker:
            await broker.accept([event("old", "pump")])
            await until(lambda: listener.got)
            await asyncio.sleep(0.05)
            since = time.time()
            await broker.accept([event(str(one), "pump") for one in range(5)])
            await until(lambda: len(listener.got) == 6)
            control = Control(tmp_path / "broker.db")
            await until(lambda: not any(control.log.lag().values()))
            found = [one.event.attributes["id"] for one in control.history("listener", everything, since)]
            assert found == list("01234")
            assert control.replay("listener", control.history("listener", everything, since)) == 5
            await until(lambda: len(listener.got) == 11)
            assert listener.got[6:] == list("01234")
            await until(lambda: not control.log.wanted_again("listener"))
            control.close()

    asyncio.run(story())


def test_a_long_history_is_replayed_once_however_often_the_order_is_read(tmp_path: Path) -> None:
    async def story() -> None:
        listener = Subscriber()
        async with running(tmp_path, listener) as broker:
            await broker.accept([event(str(one), f"s{one % 7}") for one in range(1500)])
            await until(lambda: len(listener.got) == 1500)
            control = Control(tmp_path / "broker.db")
            await until(lambda: not any(control.log.lag().values()))
            listener.hang = 0.005
            assert control.replay("listener", control.history("listener", everything, 0.0)) == 1500
            await until(lambda: not control.log.wanted_again("listener"), 60)
            assert len(listener.got) == 3000
            assert len(set(listener.got[1500:])) == 1500
            control.close()

    asyncio.run(story())


def test_an_unknown_trigger_is_told_beside_the_known(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path, Subscriber()):
            control = Control(tmp_path / "broker.db")
            with pytest.raises(NoSuch, match="no trigger 'lisener'; there are: listener"):
                control.pause("lisener")
            control.close()

    asyncio.run(story())
