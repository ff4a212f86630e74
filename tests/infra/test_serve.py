"""A function behind HTTP: the status code tells the sender what to do next."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from homeostat.eventing.errors import Retry
from homeostat.eventing.messages import CanaryTick, RollbackRequested, TrainingRequested
from homeostat.eventing.wire import WireEvent
from homeostat.functions.canary import CanaryFacts
from homeostat.functions.detector import Detector
from homeostat.infra.local.store import Store
from homeostat.infra.serve import MAX_BODY, function_app
from homeostat.infra.shell import Host
from tests.functions.detectors import NOON, cause, spec

HEADERS = {
    "ce-specversion": "1.0",
    "ce-id": "e1",
    "ce-source": "/test",
    "ce-type": TrainingRequested.type,
    "ce-subject": "pump",
    "content-type": "application/json",
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "detectors.db")) as one:
        one.apply("pump", spec())
        yield one


def host(store: Store, trouble: Exception | None = None) -> Host:
    """A host without hands; looking at a canary raises `trouble`."""

    async def emit(_: Sequence[WireEvent]) -> None:
        raise AssertionError("nothing to post")

    async def observe(*_: object) -> CanaryFacts | None:
        if trouble:
            raise trouble
        return None

    return Host(detectors=store, emit=emit, observers={CanaryFacts: observe})


def post(
    host: Host, body: Any = b"{}", headers: Mapping[str, str] = HEADERS, to: str = "plan-retraining"
) -> httpx.Response:
    return asyncio.run(_send(host, "POST", "/", to, content=body, headers=headers))


async def _send(host: Host, method: str, path: str, function: str, **request: Any) -> httpx.Response:
    transport = httpx.ASGITransport(function_app(function, host))
    async with httpx.AsyncClient(transport=transport, base_url="http://function") as client:
        return await client.request(method, path, **request)


def faults(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 400, answer.text
    return [one["field"] for one in answer.json()["faults"]]


def waits(store: Store) -> bool:
    found: tuple[Detector, int] | None = store.snapshot("pump", NOON, cause())
    assert found is not None
    return found[0].status.waiting is not None


def test_a_handled_event_is_accepted(store: Store) -> None:
    answer = post(host(store))
    assert (answer.status_code, answer.content) == (202, b"")
    assert waits(store)


def test_structured_mode_is_understood(store: Store) -> None:
    document = (
        b'{"specversion":"1.0","id":"e1","source":"/t","type":"dev.homeostat.training.requested",'
        b'"subject":"pump","data":{"reason":"new sensor"}}'
    )
    answer = post(host(store), document, {"content-type": "application/cloudevents+json"})
    assert answer.status_code == 202
    assert waits(store)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_are_answered(store: Store, path: str) -> None:
    answer = asyncio.run(_send(host(store), "GET", path, "roll-out"))
    assert answer.status_code == 200
    assert answer.json() == {"function": "roll-out", "status": "ok"}


@pytest.mark.parametrize(
    ("headers", "body", "fields"),
    [
        ({"content-type": "text/plain"}, b"hello", ["content-type"]),
        ({**HEADERS, "ce-id": ""}, b"{}", ["id"]),
        ({**HEADERS, "ce-id": "", "ce-source": "", "ce-time": "noon"}, b"{}", ["id", "source", "time"]),
        ({**HEADERS, "ce-subject": "fan"}, b"{}", ["subject"]),
        ({**HEADERS, "ce-type": "dev.homeostat.unknown"}, b"{}", ["type"]),
        ({**HEADERS, "ce-type": RollbackRequested.type}, b"{}", ["type"]),
        ({**HEADERS, "ce-hops": "65"}, b"{}", ["hops"]),
        ({**HEADERS, "ce-hops": "-1"}, b"{}", ["hops"]),
        (HEADERS, b"{", ["data"]),
        (HEADERS, b"[]", ["data"]),
        (HEADERS, b'{"force": "perhaps", "trigger": "moon"}', ["data.trigger", "data.force"]),
        ({"content-type": "application/cloudevents+json"}, b"[", ["body"]),
        ({"content-type": "application/cloudevents-batch+json"}, b"[]", ["content-type"]),
    ],
)
def test_a_bad_event_is_refused_for_good_naming_every_fault(
    store: Store, headers: dict[str, str], body: bytes, fields: list[str]
) -> None:
    answer = post(host(store), body, headers)
    assert faults(answer) == fields
    assert all(one["mend"] for one in answer.json()["faults"])
    assert not waits(store)


def test_a_body_over_the_limit_is_refused_without_being_kept(store: Store) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * 1024 * 1024

    answer = post(host(store), endless())
    assert faults(answer) == ["body"]
    assert sent <= MAX_BODY // 1024**2 + 2


def test_a_body_at_the_limit_is_read(store: Store) -> None:
    body = b'{"reason": "long"}'
    assert post(host(store), body + b" " * (MAX_BODY - len(body))).status_code == 202


TICK = {**HEADERS, "ce-type": CanaryTick.type}


@pytest.mark.parametrize(("after", "seconds"), [(30, "30"), (1.6, "2"), (0.2, "1")])
def test_later_means_503_with_the_seconds_to_wait(store: Store, after: float, seconds: str) -> None:
    answer = post(host(store, Retry("the router starts", after=after)), headers=TICK, to="roll-out")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, seconds)
    assert "the router starts" in answer.text


def test_a_defect_means_500_and_tells_no_secrets(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    answer = post(host(store, ValueError("password 123")), headers=TICK, to="roll-out")
    assert answer.status_code == 500
    assert "password" not in answer.text
    assert "password 123" in caplog.text, "its log says why"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_only_posts_carry_events(store: Store, method: str) -> None:
    assert asyncio.run(_send(host(store), method, "/", "roll-out")).status_code == 405
