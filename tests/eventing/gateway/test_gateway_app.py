"""The gateway over ASGI, before a real broker: what it takes is on disk, what it refuses it explains."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Mount

from homeostat.eventing import codec
from homeostat.eventing.broker import Broker
from homeostat.eventing.broker.log import EventLog
from homeostat.eventing.errors import Retry
from homeostat.eventing.gateway.app import gateway
from homeostat.eventing.gateway.matching import Matcher
from homeostat.eventing.gateway.unmatched import KEPT, KEPT_BYTES
from homeostat.eventing.messages import AlertFired, DataLanded
from homeostat.eventing.wire import STRUCTURED, WireEvent, encode, encode_structured
from tests.eventing.brokers import Subscriber, event, running, until
from tests.eventing.gateway import payloads
from tests.eventing.gateway.payloads import alert

MAX_BODY = 256 * 1024
MATCH = Matcher({"pump": "s3://plant/pump/"})
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Place:
    """A gateway, the broker behind it, and what they have seen."""

    def __init__(self, folder: Path, broker: Broker, listener: Subscriber) -> None:
        self.listener = listener
        self.registry = CollectorRegistry()
        self._log = folder / "broker.db"
        self.kept: dict[str, bytes] = {}
        app = gateway(broker.accept, MATCH, max_body=MAX_BODY, store=self._keep, registry=self.registry)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://gateway")

    def _keep(self, name: str, content: bytes) -> str:
        self.kept[name] = content
        return f"s3://plant/pump/{name}"

    def events(self) -> list[WireEvent]:
        return [one.event for one in EventLog(self._log).events()]

    def counted(self, name: str, door: str) -> float | None:
        return self.registry.get_sample_value(f"homeostat_gateway_{name}_total", {"door": door})


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[Place]:
    listener = Subscriber()
    async with running(folder, listener) as broker:
        here = Place(folder, broker, listener)
        async with here.client:
            yield here


def story(folder: Path, told: Callable[[Place], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with place(folder) as here:
            await told(here)

    asyncio.run(whole())


def test_a_group_becomes_events_that_the_broker_has_and_the_functions_read(tmp_path: Path) -> None:
    async def told(here: Place) -> None:
        group = payloads.alertmanager(alert(), alert("resolved", "b"))
        answer = await here.client.post("/alertmanager", json=group, headers={"traceparent": TRACE})
        assert (answer.status_code, answer.json()) == (202, {"accepted": 2, "unmatched": 0})
        message, context = codec.parse(here.events()[0])
        assert isinstance(message, AlertFired)
        assert (context.subject, context.hops, context.traceparent) == ("pump", 0, TRACE)
        assert context.correlationid == context.id
        assert context.causationid is None

    story(tmp_path, told)


def test_what_is_delivered_again_wakes_nobody_again(tmp_path: Path) -> None:
    async def told(here: Place) -> None:
        for _ in range(3):
            answer = await here.client.post("/alertmanager", json=payloads.alertmanager())
            assert answer.status_code == 202
        answer = await here.client.post("/grafana", json=payloads.grafana())
        await until(lambda: len(here.listener.got) >= 2)
        await asyncio.sleep(0.1)
        assert len(here.listener.got) == 2

    story(tmp_path, told)


def test_an_alert_that_names_no_detector_is_emitted_without_subject_and_shown(tmp_path: Path) -> None:
    async def told(here: Place) -> None:
        group = payloads.alertmanager(alert("firing", "f", service="pump"), alert())
        answer = await here.client.post("/alertmanager", json=group)
        assert answer.json() == {"accepted": 2, "unmatched": 1}
        assert ["subject" in one.attributes for one in here.events()] == [False, True]
        page = (await here.client.get("/unmatched")).json()
        assert page["counts"] == {"data": 0, "alerts": 1}
        assert page["last"][0]["emitted"] is True
        assert page["last"][0]["data"]["labels"]["service"] == "pump"
        assert here.counted("unmatched", "/alertmanager") == 1

    story(tmp_path, told)


def test_truncated_alerts_are_counted(tmp_path: Path) -> None:
    async def told(here: Place) -> None:
        await here.client.post(
            "/alertmanager", json=payloads.alertmanager(alert(), alert("firing", "b"), truncatedAlerts=5)
        )
        assert here.counted("truncated_alerts", "/alertmanager") == 5

    story(tmp_path, told)


def records(*keys: str) -> dict[str, Any]:
    """Amazon S3's notification, documented at
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html."""
    return {
        "Records": [
            {
                "eventVersion": "2.6",
                "eventSource": "aws:s3",
                "awsRegion": "eu-central-1",
                "eventTime": "2026-11-23T12:51:42.000Z",
                "eventName": "ObjectCreated:Put",
                "s3": {
                    "bucket": {"name": "plant", "arn": "arn:aws:s3:::plant"},
                    "object": {
                        "key": key,
                        "size": 1024,
                        "eTag": "d41d8cd98f00b204",
                        "sequencer": "0055AED6DCD90281E5",
                    },
                },
            }
            for key in keys
        ]
    }


def test_objects_find_their_detector_and_others_are_shown_and_not_emitted(tmp_path: Path) -> None:
    async def told(here: Place) -> None:
        notice = records("pump/a.parquet", "press/b.parquet", "pump/c.parquet")
        answer = await here.client.post("/storage/s3", json=notice)
        assert answer.json() == {"accepted": 2, "unmatched": 1}
        events = here.events()
        assert [codec.parse(one)[1].subject for one in events] == ["pump", "pump"]
        assert isinstance(codec.parse(events[0])[0], DataLanded)
        page = (await here.client.get("/unmatched")).json()
        assert page["counts"] == {"data": 1, "alerts": 0}
        assert page["last"][0]["data"]["uri"] == "s3://plant/press/b.parquet"
        assert page["last"][0]["emitted"] is False
        assert here.counted("accepted", "/storage/s3") == 2
        assert here.counted("unmatched", "/storage/s3") == 1

    story(tmp_path, told)


def test_the_last_hundred_unmatched_are_kept_newest_first_and_repeats_push_none_out(tmp_path: Path) -> None:
    async def told(here: Place) -> None:
        await here.client.post("/storage/s3", json=records(*(f"press/{number}" for number in range(150))))
        for _ in range(3):
            await here.client.post("/storage/s3", json=records("press/60"))
        page = (await here.client.get("/unmatched")).json()
        assert page["counts"]["data"] == 153
        assert len(page["last"]) == KEPT
        order = [int(one["data"]["uri"].rpartition("/")[2]) for one in page["last"]]
        assert order == [60, *(number for number in range(149, 49, -1) if number != 60)]

    story(tmp_path, told)


def test_long_unmatched_alerts_do_not_fill_the_memory(tmp_path: Path) -> None:
    async def told(here: Place) -> None:
        for number in range(20):
            long = alert("firing", str(number), a="b") | {"annotations": {"summary": "x" * 200_000}}
            assert (
                await here.client.post("/alertmanager", json=payloads.alertmanager(long))
            ).status_code == 202
        answer = await here.client.get("/unmatched")
        assert 0 < len(answer.content) < KEPT_BYTES * 1.1
        assert answer.json()["last"][0]["data"]["fingerprint"] == "19"

    story(tmp_path, told)


def test_an_object_that_arrives_as_data_is_kept_first_and_once(tmp_path: Path) -> None:
    async def told(here: Place) -> None:
        headers = {
            "ce-id": "1",
            "ce-source": "dev.knative.eventing.aws-s3-source",
            "ce-type": "dev.knative.eventing.aws-s3",
            "ce-subject": "aws-s3-source",
            "ce-specversion": "1.0",
            "content-type": "application/octet-stream",
        }
        for identity in ("1", "2"):
            again = headers | {"ce-id": identity}
            answer = await here.client.post("/storage/knative-s3", content=b"a;b\n1;2\n", headers=again)
            assert answer.json() == {"accepted": 1, "unmatched": 0}
        assert list(here.kept.values()) == [b"a;b\n1;2\n"]
        (landed,) = here.events()
        assert codec.parse(landed)[1].subject == "pump"

    story(tmp_path, told)


def test_without_a_store_the_door_for_objects_is_shut_and_not_described() -> None:
    async def told() -> None:
        async with bare(_nowhere) as client:
            assert (await client.post("/storage/knative-s3", content=b"x")).status_code == 404
            assert "/storage/knative-s3" not in (await client.get("/openapi.json")).json()["paths"]

    asyncio.run(told())


async def _nowhere(_: Sequence[WireEvent]) -> None:
    raise Retry("the disk is full", after=2.4)


def bare(accept: Callable[[Sequence[WireEvent]], Awaitable[None]]) -> httpx.AsyncClient:
    app = gateway(accept, MATCH, max_body=MAX_BODY)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway")


def test_a_broker_that_cannot_take_it_makes_the_sender_come_again_and_counts_nothing() -> None:
    async def told() -> None:
        async with bare(_nowhere) as client:
            notice = records("pump/a", "press/b")
            answer = await client.post("/storage/s3", json=notice)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
            assert "disk is full" in answer.text
            assert (await client.get("/unmatched")).json()["counts"]["data"] == 0

    asyncio.run(told())


def test_any_cloudevent_goes_on_as_it_came(tmp_path: Path) -> None:
    async def told(here: Place) -> None:
        sent = event("7", "pump", kind="com.example.thing", data=b'{"a":1}')
        headers, body = encode(sent)
        assert (await here.client.post("/events", headers=headers, content=body)).json()["accepted"] == 1
        other = event("8", "pump", kind="com.example.thing", data=b'{"a":1}')
        structured = {"content-type": STRUCTURED}
        answer = await here.client.post("/events", headers=structured, content=encode_structured(other))
        assert answer.status_code == 202
        assert here.events() == [sent, other]

    story(tmp_path, told)


def test_a_batch_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    async def told(here: Place) -> None:
        batch = {"content-type": "application/cloudevents-batch+json"}
        good, other = encode_structured(event("1")), encode_structured(event("2"))
        answer = await here.client.post("/events", headers=batch, content=b"[%s,%s]" % (good, b'{"id":"3"}'))
        assert answer.status_code == 400
        assert here.events() == []
        answer = await here.client.post("/events", headers=batch, content=b"[%s,%s]" % (good, other))
        assert answer.json() == {"accepted": 2, "unmatched": 0}
        assert [one.attributes["id"] for one in here.events()] == ["1", "2"]

    story(tmp_path, told)


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "said"),
    [
        ("POST", "/alertmanager", JSON, b"{", 400, "body"),
        ("POST", "/alertmanager", JSON, json.dumps(payloads.grafana()).encode(), 400, "version"),
        ("POST", "/alertmanager", {"content-type": "text/plain"}, b"{}", 415, "application/json"),
        ("POST", "/alertmanager", JSON | {"content-encoding": "gzip"}, b"{}", 415, "content-encoding"),
        ("POST", "/alertmanager", JSON, b" " * (MAX_BODY + 1), 413, str(MAX_BODY)),
        ("PUT", "/alertmanager", JSON, b"{}", 405, "POST"),
        ("GET", "/grafana", {}, b"", 405, "POST"),
        ("POST", "/unmatched", {}, b"", 405, "GET"),
        ("POST", "/storage/floppy", JSON, b"{}", 404, "openapi.json"),
        (
            "POST",
            "/storage/s3",
            {"content-type": "application/cloudevents+avro"},
            b"x",
            415,
            "application/json",
        ),
        ("POST", "/events", {"content-type": "application/cloudevents+avro"}, b"x", 415, "application/json"),
        ("POST", "/events", JSON, b"{}", 400, "ce-id"),
    ],
)
def test_what_is_refused_is_told_why(
    tmp_path: Path, method: str, path: str, headers: dict[str, str], body: bytes, status: int, said: str
) -> None:
    async def told(here: Place) -> None:
        answer = await here.client.request(method, path, headers=headers, content=body)
        assert answer.status_code == status
        assert said in answer.text
        assert {"field", "value", "mend"} == set(answer.json()["faults"][0])
        assert (status == 405) == ("allow" in answer.headers)
        assert here.events() == []

    story(tmp_path, told)


def test_a_body_that_grows_over_the_limit_unannounced_is_cut(tmp_path: Path) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(64):
            read += 1
            yield b" " * 65536

    async def told(here: Place) -> None:
        answer = await here.client.post("/grafana", headers=JSON, content=endless())
        assert answer.status_code == 413
        assert read <= 6

    story(tmp_path, told)


def test_a_thousand_bad_alerts_get_a_short_answer() -> None:
    async def told() -> None:
        async with bare(_nowhere) as client:
            answer = await client.post("/alertmanager", json=payloads.alertmanager(alerts=[{}] * 1000))
            assert answer.status_code == 400
            assert len(answer.json()["faults"]) == 101
            assert len(answer.content) < 65536

    asyncio.run(told())


@pytest.mark.parametrize(
    "path", ["/alertmanager", "/grafana", "/events", "/storage/azure", "/storage/knative-s3"]
)
@pytest.mark.parametrize(("asked", "rate"), [({}, "*"), ({"webhook-request-rate": "120"}, "120")])
def test_a_sender_that_asks_first_gets_permission(
    tmp_path: Path, path: str, asked: dict[str, str], rate: str
) -> None:
    """Azure Event Grid before the CloudEvents schema, as in
    https://learn.microsoft.com/azure/event-grid/end-point-validation-cloud-events-schema."""

    async def told(here: Place) -> None:
        headers = {"webhook-request-origin": "eventgrid.azure.net", **asked}
        answer = await here.client.options(path, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["webhook-allowed-origin"] == "eventgrid.azure.net"
        assert answer.headers["webhook-allowed-rate"] == rate
        assert "POST" in answer.headers["allow"]

    story(tmp_path, told)


@pytest.mark.parametrize(
    "asked",
    [
        {"webhook-request-origin": "http://evil.example/?x"},
        {"webhook-request-origin": ""},
        {"webhook-request-origin": "a.example", "webhook-request-rate": "0"},
        {"webhook-request-origin": "a.example", "webhook-request-rate": "many"},
    ],
)
def test_a_handshake_that_is_none_gets_no_permission(tmp_path: Path, asked: dict[str, str]) -> None:
    async def told(here: Place) -> None:
        answer = await here.client.options("/events", headers=asked)
        assert answer.status_code == 400
        assert "webhook-allowed-origin" not in answer.headers

    story(tmp_path, told)


def test_options_without_an_origin_permit_nothing(tmp_path: Path) -> None:
    async def told(here: Place) -> None:
        answer = await here.client.options("/events")
        assert (answer.status_code, answer.headers["allow"]) == (200, "OPTIONS, POST")
        assert "webhook-allowed-origin" not in answer.headers

    story(tmp_path, told)


def test_event_grids_own_validation_is_answered(tmp_path: Path) -> None:
    """https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema."""
    question = [
        {
            "id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66",
            "topic": "/subscriptions/x",
            "subject": "",
            "data": {"validationCode": "512d38b6-c7b8", "validationUrl": "http://127.0.0.1:1/never"},
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": "2026-11-23T12:51:42Z",
            "dataVersion": "1",
        }
    ]

    async def told(here: Place) -> None:
        asked = {"aeg-event-type": "SubscriptionValidation"}
        answer = await here.client.post("/storage/azure", json=question, headers=asked)
        assert (answer.status_code, answer.json()) == (200, {"validationResponse": "512d38b6-c7b8"})
        assert here.events() == []

    story(tmp_path, told)


def test_mounted_it_is_the_same_and_its_document_says_where_it_is() -> None:
    async def told(client: httpx.AsyncClient) -> None:
        group = payloads.alertmanager()
        assert (await client.post("/gateway/alertmanager", json=group)).status_code == 503
        assert (await client.get("/gateway/alertmanager")).status_code == 405
        described = (await client.get("/gateway/openapi.json")).json()
        assert described["servers"] == [{"url": "/gateway"}]
        assert {"/alertmanager", "/grafana", "/events", "/storage/s3", "/unmatched"} <= set(
            described["paths"]
        )

    async def whole() -> None:
        app = Starlette(routes=[Mount("/gateway", gateway(_nowhere, MATCH, max_body=MAX_BODY))])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://h") as client:
            await told(client)

    asyncio.run(whole())
