"""A line says what it is about, to people and to programs, and no secrets."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.doors.token_file import new_token
from homeostat.eventing.errors import Reject
from homeostat.eventing.wire import WireEvent
from homeostat.infra import logs

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
EVENT = WireEvent(
    {
        "specversion": "1.0",
        "id": "e1",
        "source": "/t",
        "type": "dev.homeostat.training.requested",
        "subject": "pump",
        "correlationid": "c1",
        "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
    },
    b"{}",
)


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger; what a test does to it is undone."""
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def started(form: str, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    logging.getLogger().handlers.clear()  # pytest's, which come with each phase of a test
    logs.start({"HOMEOSTAT_LOG_FORMAT": form, "HOMEOSTAT_LOG_LEVEL": level}, stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def failing() -> None:
    raise ValueError("no rows")


def test_a_line_of_json_says_what_it_is_about(root: logging.Logger) -> None:
    stream = started("json")
    with logs.of_event("plan-retraining", EVENT), logs.about(detector="fan"):
        try:
            failing()
        except ValueError:
            logging.getLogger("homeostat.test").exception("it %s", "failed")
    logging.getLogger("homeostat.test").info("after")
    failed, after = lines(stream)
    exception = failed.pop("exception")
    assert exception.startswith("Traceback")
    assert exception.endswith("ValueError: no rows")
    assert failed.pop("time").endswith("+00:00")
    assert failed == {
        "level": "error",
        "logger": "homeostat.test",
        "message": "it failed",
        "function": "plan-retraining",
        "detector": "fan",
        "event": "e1",
        "type": "dev.homeostat.training.requested",
        "correlationid": "c1",
        "trace": TRACE,
    }
    assert after.keys() == {"time", "level", "logger", "message"}, "what is over is not spoken of"


def test_tasks_side_by_side_do_not_speak_for_each_other(root: logging.Logger) -> None:
    stream = started("json")

    async def one(name: str) -> None:
        with logs.about(detector=name):
            await asyncio.sleep(0)
            await asyncio.to_thread(logging.getLogger("homeostat.test").info, name)

    async def both() -> None:
        await asyncio.gather(*(one(name) for name in ("pump", "fan")))

    asyncio.run(both())
    assert sorted((line["message"], line["detector"]) for line in lines(stream)) == [
        ("fan", "fan"),
        ("pump", "pump"),
    ]


def test_a_line_for_people_says_it_as_well(root: logging.Logger) -> None:
    stream = started("text")
    with logs.about(detector="pump", event="e1"):
        logging.getLogger("homeostat.test").warning("late")
    assert stream.getvalue().endswith(" WARNING homeostat.test: late [detector=pump event=e1]\n")


@pytest.mark.parametrize(
    "secret",
    [
        new_token("alertmanager"),
        "Authorization: Bearer abcdefgh.12345678",
        "amqp://ada:hunter2@broker:5672/x",
        "password=hunter2",
        "{'aws_secret_access_key': 'hunter2'}",
        'token: "hunter2 and more"',
    ],
    ids=["ours", "header", "address", "assignment", "json", "quoted"],
)
@pytest.mark.parametrize("form", logs.FORMATS)
def test_what_looks_like_a_secret_is_not_written(root: logging.Logger, secret: str, form: str) -> None:
    stream = started(form)
    try:
        raise RuntimeError(secret)
    except RuntimeError:
        logging.getLogger("homeostat.test").exception("could not call with %s", secret)
    written = stream.getvalue()
    assert logs.HIDDEN in written
    for part in (
        "hunter2",
        "abcdefgh",
        secret.rpartition("_")[2] if secret.startswith("hst_") else "hunter2",
    ):
        assert part not in written


@pytest.mark.parametrize("text", ["hst_ is our prefix", "the token is missing", "http://broker:8080/x"])
def test_what_is_none_is_written(text: str) -> None:
    assert logs.without_secrets(text) == text


def test_a_flood_is_cut() -> None:
    assert logs.without_secrets("a-" * logs.MOST).endswith(f" ... and {logs.MOST} characters more")


@given(st.text(), st.text())
def test_whatever_is_said_is_one_line_of_json(message: str, detector: str) -> None:
    record = logging.LogRecord("homeostat.test", logging.INFO, "", 0, "%s", (message,), None)
    with logs.about(detector=detector):
        line = logs.Json().format(record)
    assert "\n" not in line
    assert json.loads(line)["level"] == "info"


@pytest.mark.parametrize("wrong", [{"HOMEOSTAT_LOG_LEVEL": "loud"}, {"HOMEOSTAT_LOG_FORMAT": "xml"}])
def test_what_it_does_not_know_it_refuses_by_name(wrong: dict[str, str]) -> None:
    with pytest.raises(Reject) as refused:
        logs.start(wrong)
    (fault,) = refused.value.faults
    assert {fault.field} == wrong.keys()
