"""Knative's delivery contract: at least once, retried by the table, in order per subject."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from homeostat.eventing.broker.log import EventLog
from homeostat.eventing.broker.manifests import Delivery
from homeostat.eventing.broker.retries import pause
from homeostat.eventing.broker.senders import Answer
from tests.eventing.brokers import FAST, Subscriber, event, running, until


def test_an_event_is_delivered_with_its_attributes_and_a_wish_for_a_reply(tmp_path: Path) -> None:
    async def story() -> None:
        listener = Subscriber()
        async with running(tmp_path, listener) as broker:
            await broker.accept([event("1", "pump")])
            await until(lambda: listener.got)
        assert listener.headers[0][b"ce-subject"] == b"pump"
        assert listener.headers[0][b"prefer"] == b"reply"

    asyncio.run(story())


@pytest.mark.parametrize("code", [404, 408, 409, 429, 500, 503])
def test_these_answers_are_tried_again_until_it_goes_well(tmp_path: Path, code: int) -> None:
    async def story() -> None:
        listener = Subscriber(lambda _, before: code if before < 2 else 202)
        async with running(tmp_path, listener) as broker:
            await broker.accept([event("1")])
            await until(lambda: len(listener.got) == 3)
            await asyncio.sleep(0.1)
        assert listener.got == ["1"] * 3
        assert EventLog(tmp_path / "broker.db").dead() == []

    asyncio.run(story())


@pytest.mark.parametrize("code", [400, 401, 403, 413, 422, 302])
def test_other_answers_are_final_and_the_reason_is_kept(tmp_path: Path, code: int) -> None:
    async def story() -> None:
        listener = Subscriber(lambda *_: code)
        async with running(tmp_path, listener) as broker:
            await broker.accept([event("1")])
            await until(lambda: EventLog(tmp_path / "broker.db").dead())
        (letter,) = EventLog(tmp_path / "broker.db").dead()
        assert (listener.got, letter.code, letter.reason) == (["1"], code, "because")
        assert letter.trigger == "listener"

    asyncio.run(story())


def test_after_the_last_retry_the_event_is_a_dead_letter(tmp_path: Path) -> None:
    async def story() -> None:
        listener = Subscriber(lambda *_: 500)
        async with running(tmp_path, listener) as broker:
            await broker.accept([event("1")])
            await until(lambda: EventLog(tmp_path / "broker.db").dead())
        assert len(listener.got) == 1 + FAST["retry"]  # type: ignore[operator]

    asyncio.run(story())


def test_a_subscriber_that_hangs_is_left_and_tried_again(tmp_path: Path) -> None:
    async def story() -> None:
        listener = Subscriber()
        listener.hang = 5
        async with running(tmp_path, listener, {**FAST, "timeout": "PT0.1S"}) as broker:
            await broker.accept([event("1")])
            await until(lambda: len(listener.got) == 1)
            listener.hang = 0
            await until(lambda: len(listener.got) == 2)

    asyncio.run(story())


def test_a_subscriber_that_cannot_be_reached_is_tried_again(tmp_path: Path) -> None:
    async def story() -> None:
        nowhere = "http://127.0.0.1:9/"
        async with running(tmp_path, {"listener": nowhere}) as broker:
            await broker.accept([event("1")])
            await until(lambda: EventLog(tmp_path / "broker.db").dead())
        (letter,) = EventLog(tmp_path / "broker.db").dead()
        assert letter.code is None
        assert "Connect" in letter.reason

    asyncio.run(story())


def test_the_dead_letter_sink_gets_the_event_with_its_three_extensions(tmp_path: Path) -> None:
    async def story() -> None:
        morgue = Subscriber()
        sink = {"ref": {"apiVersion": "v1", "kind": "Service", "name": "morgue"}}
        apps = {"listener": Subscriber(lambda *_: 400), "morgue": morgue}
        async with running(tmp_path, apps, {**FAST, "deadLetterSink": sink}) as broker:
            await broker.accept([event("1")])
            await until(lambda: morgue.got)
        headers = morgue.headers[0]
        assert headers[b"ce-knativeerrorcode"] == b"400"
        assert headers[b"ce-knativeerrordata"] == b"because"
        assert headers[b"ce-knativeerrordest"] == b"Service/listener"

    asyncio.run(story())


def test_a_reply_is_a_new_event(tmp_path: Path) -> None:
    async def story() -> None:
        listener = Subscriber(lambda *_: 200)
        names = {"id": "reply", "source": "/r", "type": "answer", "specversion": "1.0"}
        listener.reply = ([(f"ce-{name}".encode(), value.encode()) for name, value in names.items()], b"{}")
        async with running(tmp_path, listener, filters=[{"exact": {"type": "t"}}]) as broker:
            await broker.accept([event("1")])
            await until(lambda: len(EventLog(tmp_path / "broker.db").events()) == 2)
        stored = EventLog(tmp_path / "broker.db").events()[1].event
        assert stored.attributes["type"] == "answer"
        assert listener.got == ["1"]

    asyncio.run(story())


def test_order_per_subject_holds_through_retries_and_other_subjects_go_on(tmp_path: Path) -> None:
    async def story() -> None:
        listener = Subscriber(lambda identity, before: 503 if identity == "a1" and before < 3 else 202)
        async with running(tmp_path, listener, {**FAST, "backoffDelay": "PT0.05S"}) as broker:
            await broker.accept([event("a1", "a"), event("a2", "a"), event("b1", "b"), event("b2", "b")])
            await until(lambda: "a2" in listener.got)
        assert listener.got.index("b2") < listener.got.index("a2")
        assert [one for one in listener.got if one in ("a1", "a2")] == ["a1"] * 4 + ["a2"]

    asyncio.run(story())


def test_what_was_delivered_is_not_delivered_again_after_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        listener = Subscriber()
        async with running(tmp_path, listener) as broker:
            await broker.accept([event(str(number)) for number in range(50)])
            await until(lambda: len(listener.got) == 50)
        async with running(tmp_path, listener) as broker:
            await broker.accept([event("new")])
            await until(lambda: "new" in listener.got)
        assert len(listener.got) == 51

    asyncio.run(story())


def test_attempts_are_counted_across_restarts(tmp_path: Path) -> None:
    async def story() -> None:
        listener = Subscriber(lambda *_: 500)
        slow = {**FAST, "retry": 1, "backoffDelay": "PT0.3S"}
        async with running(tmp_path, listener, slow) as broker:
            await broker.accept([event("1")])
            await until(lambda: listener.got)
            await asyncio.sleep(0.1)
        async with running(tmp_path, listener, slow):
            await until(lambda: EventLog(tmp_path / "broker.db").dead())
        assert len(listener.got) == 2

    asyncio.run(story())


def test_twins_are_accepted_and_stored_once(tmp_path: Path) -> None:
    async def story() -> None:
        listener = Subscriber()
        async with running(tmp_path, listener) as broker:
            await asyncio.gather(*(broker.accept([event("1")]) for _ in range(20)))
            await until(lambda: listener.got)
            await asyncio.sleep(0.1)
        assert listener.got == ["1"]

    asyncio.run(story())


def test_events_that_the_filter_refuses_are_passed_over_and_leave_no_lag(tmp_path: Path) -> None:
    async def story() -> None:
        listener = Subscriber()
        async with running(tmp_path, listener, filters=[{"exact": {"type": "wanted"}}]) as broker:
            await broker.accept([event("1"), event("2", kind="wanted")])
            await until(lambda: listener.got)
        assert listener.got == ["2"]
        assert EventLog(tmp_path / "broker.db").lag() == {"listener": 0}

    asyncio.run(story())


@pytest.mark.parametrize(("policy", "third"), [("linear", 0.6), ("exponential", 0.8)])
def test_backoff_grows_as_the_policy_says(policy: str, third: float) -> None:
    assert pause(Delivery(policy=policy), 3, Answer(500, [], b"")) == pytest.approx(third, rel=0.11)


def test_retry_after_is_honoured_up_to_its_limit() -> None:
    from datetime import timedelta

    answer = Answer(503, [("Retry-After", "60")], b"")
    assert pause(Delivery(), 1, answer) < 1
    assert 5 <= pause(Delivery(retry_after_max=timedelta(seconds=5)), 1, answer) <= 5.6


def test_a_backlog_is_read_in_pages_not_into_memory(tmp_path: Path) -> None:
    async def story() -> None:
        listener = Subscriber()
        async with running(tmp_path, listener) as broker:
            for start in range(0, 5000, 500):
                await broker.accept([event(str(number)) for number in range(start, start + 500)])
            begun = time.monotonic()
            await until(lambda: len(listener.got) == 5000, 30)
            assert time.monotonic() - begun < 30
        assert sorted(map(int, listener.got)) == list(range(5000))

    asyncio.run(story())
