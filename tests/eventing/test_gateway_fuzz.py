"""The gateway against a hundred thousand bad inputs: no 5xx, no crash, no growth, every answer as described.

Schemathesis drives it from its own OpenAPI document. What that says of alerts is exact, so valid ones must be
taken and others refused; vendors' storage notifications are any JSON to it, and whether they are taken is for
tests/eventing/gateway_storage to say. Beside it, real payloads are broken in bulk, without a client between.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.specs.openapi.checks import positive_data_acceptance

from homeostat.eventing.gateway.app import gateway
from homeostat.eventing.gateway.matching import Matcher
from homeostat.eventing.wire import STRUCTURED, WireEvent, check
from tests.eventing.gateway import payloads
from tests.eventing.gateway.payloads import alert


async def accept(events: Sequence[WireEvent]) -> None:
    """A broker that takes all that a broker may take."""
    for event in events:
        check(event)


APP = gateway(
    accept,
    Matcher({"pump": "s3://plant/pump/"}),
    max_body=64 * 1024,
    store=lambda name, content: f"s3://plant/kept/{name}",
)
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", APP)
EXACT = ("/alertmanager", "/grafana", "/unmatched", "/openapi.json")
CHECKS = list(HealthCheck)


@SCHEMA.parametrize()
@settings(max_examples=5, derandomize=True, deadline=None, suppress_health_check=CHECKS)
def test_the_gateway_keeps_what_its_openapi_says(case: Case) -> None:
    holds(case)


@pytest.mark.slow
@SCHEMA.parametrize()
@settings(max_examples=200, deadline=None, suppress_health_check=CHECKS)
def test_the_gateway_keeps_what_its_openapi_says_thousands_of_times(case: Case) -> None:
    holds(case)


def holds(case: Case) -> None:
    exact = case.method == "OPTIONS" or case.path in EXACT
    case.call_and_validate(excluded_checks=[] if exact else [positive_data_acceptance])


# --- in bulk ---------------------------------------------------------------------------------------------
JSON = "application/json"
BATCHED = "application/cloudevents-batch+json"
EVENT = b'{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"pump","data":{"a":[1]}}'
ENDED = alert("resolved", "b")
WHOLE: list[tuple[str, str, bytes]] = [
    ("/alertmanager", JSON, json.dumps(payloads.alertmanager(alert(), ENDED)).encode()),
    ("/grafana", JSON, json.dumps(payloads.grafana(alert(), ENDED)).encode()),
    ("/events", STRUCTURED, EVENT),
    ("/events", BATCHED, b"[%s]" % EVENT),
]
ODD = [
    None,
    True,
    -1,
    1e308,
    2**70,
    "",
    "\0",
    "\ud7ff",
    "ä" * 300,
    [],
    {},
    [[]],
    {"": None},
    "0001-01-01T00:00:00+23:59",
]


def bodies(shared: Path) -> list[tuple[str, str, bytes]]:
    """Whole payloads for every door."""
    vectors = shared / "vectors"
    found = list(WHOLE)
    found += [
        ("/alertmanager", JSON, (vectors / f"alertmanager/{name}.json").read_bytes())
        for name in ("firing", "resolved")
    ]
    for vendor in ("s3", "eventbridge", "gcs", "pubsub", "azure", "knative-s3"):
        for name in ("s3-event", "gcs-structured", "gcs-binary"):
            text = (vectors / f"storage/{name}.json").read_bytes()
            found += [(f"/storage/{vendor}", kind, text) for kind in (JSON, STRUCTURED)]
    return found


def broken(body: bytes, chance: random.Random) -> bytes:
    """The body with something wrong: a value put into any place, or the bytes cut, swapped or repeated."""
    if chance.random() < 0.7:
        document = json.loads(body)
        places = list(_places(document))
        for _ in range(chance.choice((1, 1, 2, 5))):
            inner, step = chance.choice(places)
            inner[step] = chance.choice(ODD)
        return json.dumps(document).encode()
    at, other = sorted(chance.randrange(len(body) + 1) for _ in range(2))
    return chance.choice(
        (
            body[:at],
            body[at:],
            body[:at] + body[other:],
            body[:other] + body[at:],
            body[:at] + chance.randbytes(4) + body[other:],
        )
    )


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    steps = document.items() if isinstance(document, dict) else enumerate(document)
    for step, inner in steps:
        yield document, step
        if isinstance(inner, (dict, list)):
            yield from _places(inner)


async def post(path: str, content_type: str, body: bytes) -> int:
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", content_type.encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await APP(scope, receive, send)
    return statuses[0]


def assault(shared: Path, count: int, seed: int) -> Counter[int]:
    whole = bodies(shared)

    async def run() -> Counter[int]:
        chance = random.Random(seed)
        answers: Counter[int] = Counter()
        for _ in range(count):
            path, kind, body = chance.choice(whole)
            answers[await post(path, kind, broken(body, chance))] += 1
        return answers

    return asyncio.run(run())


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """What is unmatched is logged, and pytest would keep it all."""
    caplog.set_level(logging.CRITICAL, "homeostat.eventing.gateway")


@pytest.mark.usefixtures("quiet")
def test_three_thousand_broken_payloads_are_taken_or_refused(shared: Path) -> None:
    answers = assault(shared, 3_000, seed=1)
    assert set(answers) == {202, 400}
    assert answers[400] > 1000


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_a_hundred_thousand_broken_payloads_leave_the_memory_flat(shared: Path) -> None:
    assault(shared, 5_000, seed=2)  # caches fill once
    gc.collect()
    before = psutil.Process().memory_info().rss
    answers = assault(shared, 100_000, seed=3)
    gc.collect()
    assert set(answers) == {202, 400}
    assert psutil.Process().memory_info().rss - before < 16 * 1024 * 1024
