"""Every row of Knative's data-plane contract (knative/specs, specs/eventing/data-plane.md)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from homeostat.eventing.broker.control import Control
from tests.eventing.brokers import FAST, Subscriber, event, running, until
from tests.eventing.test_ingress import served

ROWS = {
    "1xx": ((100, 102), "failed"),
    "200 and 202": ((200, 202), "completed"),
    "other 2xx": ((201, 204, 206, 299), "completed"),
    "3xx": ((300, 301, 302, 304, 307, 308), "failed"),
    "400": ((400,), "failed"),
    "404": ((404,), "retried"),
    "409": ((409,), "retried"),
    "429": ((429,), "retried"),
    "408, which Knative retries too": ((408,), "retried"),
    "other 4xx": ((401, 402, 403, 405, 406, 410, 413, 415, 418, 422, 451, 499), "failed"),
    "5xx": ((500, 501, 502, 503, 504, 507, 599), "retried"),
}
RETRY = 2


def test_each_answer_is_completed_retried_or_failed_as_its_row_says(tmp_path: Path) -> None:
    """`retried` always fails here: it is tried RETRY times more, and then it is a dead letter too."""

    async def story() -> None:
        listener = Subscriber(lambda identity, _: int(identity))
        codes = [code for row, _ in ROWS.values() for code in row]
        async with running(tmp_path, listener, {**FAST, "retry": RETRY}) as broker:
            await broker.accept([event(str(code)) for code in codes])
            control = Control(tmp_path / "broker.db")
            await until(lambda: not any(control.log.lag().values()))
            dead = {one.event.attributes["id"]: one.code for one in control.letters()}
            control.close()
        for row, (answers, meaning) in ROWS.items():
            for code in answers:
                times = listener.got.count(str(code))
                assert times == (1 + RETRY if meaning == "retried" else 1), (row, code)
                assert (str(code) in dead) == (meaning != "completed"), (row, code)
        assert all(int(identity) == code for identity, code in dead.items())

    asyncio.run(story())


def test_only_200_carries_a_reply(tmp_path: Path) -> None:
    async def story() -> None:
        listener = Subscriber(lambda identity, _: 202 if identity == "accepted" else 200)
        names = {"id": "r", "source": "/r", "type": "answer", "specversion": "1.0"}
        listener.reply = ([(f"ce-{name}".encode(), value.encode()) for name, value in names.items()], b"{}")
        async with running(tmp_path, listener, filters=[{"exact": {"type": "t"}}]) as broker:
            control = Control(tmp_path / "broker.db")
            await broker.accept([event("accepted")])
            await until(lambda: not any(control.log.lag().values()))
            assert len(control.log.events()) == 1
            await broker.accept([event("replied")])
            await until(lambda: len(control.log.events()) == 3)
            control.close()

    asyncio.run(story())


def test_the_broker_asks_its_subscriber_for_a_reply_and_the_dead_letter_sink_for_none(tmp_path: Path) -> None:
    async def story() -> None:
        listener, sink = Subscriber(lambda *_: 400), Subscriber()
        reference = {"ref": {"apiVersion": "v1", "kind": "Service", "name": "sink"}}
        apps = {"listener": listener, "sink": sink}
        async with running(tmp_path, apps, {**FAST, "deadLetterSink": reference}) as broker:
            await broker.accept([event("1")])
            await until(lambda: sink.got)
        assert listener.headers[0][b"prefer"] == b"reply"
        assert b"prefer" not in sink.headers[0]

    asyncio.run(story())


@pytest.mark.parametrize("form", ["json", "binary"])
def test_a_trigger_chooses_the_form_in_which_events_come(tmp_path: Path, form: str) -> None:
    async def story() -> None:
        seen: list[dict[bytes, bytes]] = []

        async def subscriber(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
            seen.append(dict(scope["headers"]))
            await receive()
            await send({"type": "http.response.start", "status": 202, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        async with running(tmp_path, subscriber, {**FAST, "format": form}) as broker:
            await broker.accept([event("1")])
            await until(lambda: seen)
        assert (seen[0].get(b"content-type") == b"application/cloudevents+json") == (form == "json")
        assert (b"ce-id" in seen[0]) == (form == "binary")

    asyncio.run(story())


def test_who_asks_with_options_is_told_that_post_is_allowed(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path, Subscriber()) as broker, served(broker) as client:
            answer = await client.options("/homeostat/default")
            assert (answer.status_code, answer.headers["allow"]) == (200, "OPTIONS, POST")
            asks = {"WebHook-Request-Origin": "eventgrid.azure.net", "WebHook-Request-Rate": "120"}
            answer = await client.options("/homeostat/default", headers=asks)
            assert answer.headers["webhook-allowed-origin"] == "eventgrid.azure.net"
            assert answer.headers["webhook-allowed-rate"] == "120"
            answer = await client.options("/homeostat/default", headers={"WebHook-Request-Rate": "none"})
            assert (answer.status_code, answer.json()["faults"][0]["field"]) == (400, "webhook-request-rate")

    asyncio.run(story())


def test_a_recipient_takes_the_same_event_again_and_again(tmp_path: Path) -> None:
    async def story() -> None:
        listener = Subscriber()
        async with running(tmp_path, listener) as broker, served(broker) as client:
            headers = {"ce-id": "1", "ce-source": "/s", "ce-type": "t", "ce-specversion": "1.0"}
            for _ in range(3):
                answer = await client.post("/homeostat/default", headers=headers, content=b"{}")
                assert answer.status_code == 202
            await until(lambda: listener.got)
            await asyncio.sleep(0.1)
        assert listener.got == ["1"]

    asyncio.run(story())
