"""A stream of samples is posted to the broker, and its anomalies arrive where somebody listens."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest

from homeostat.eventing.messages import AnomalyDetected, KafkaRecord, ModelPromoted, SamplesReceived
from homeostat.infra.local.settings import Settings
from homeostat.infra.local.views import dead_letters
from tests.scenarios.homes import CHANNELS, RunningHome, rows

Block = list[list[float]]


class Webhook:
    """A web hook as any chat or pager has one: it keeps what it is sent."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], Any]] = []
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                heard.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/alarms"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    hook = Webhook()
    yield hook
    hook.server.shutdown()
    hook.server.server_close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, webhook: Webhook) -> Iterator[RunningHome]:
    """A home whose detector serves, with a Trigger of its owner beside the loop's own."""
    files = tmp_path_factory.mktemp("home")
    (files / "webhook.yaml").write_text(
        "apiVersion: eventing.knative.dev/v1\n"
        "kind: Trigger\n"
        "metadata: {name: webhook, namespace: homeostat}\n"
        "spec:\n"
        "  broker: default\n"
        f"  filters: [{{exact: {{type: {AnomalyDetected.type}}}}}]\n"
        f"  subscriber: {{uri: '{webhook.url}'}}\n"
    )
    running = RunningHome(files / "state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOMEOSTAT_MANIFESTS", str(files / "webhook.yaml"))
        running.start()
    try:
        running.wait_healthy()
        running.apply()
        running.land(rows(1600), "first.csv", files)
        block = values(20)
        running.until(lambda: running.predict(block).status_code == 200, 180, "the first answer")
        running.until(
            lambda: running.predict(block) and running.events(ModelPromoted.type), 60, "the promotion"
        )
        yield running
    finally:
        running.kill()


def values(count: int, seed: int = 5) -> Block:
    """Usual rows."""
    block: Block = rows(count, seed=seed, faults=0)[list(CHANNELS)].to_numpy(float).tolist()
    return block


def broken(count: int) -> Block:
    """Rows of a rig that falls apart."""
    return [[5 * one + 50 for one in row] for row in values(count)]


def post(home: RunningHome, attributes: dict[str, str], data: object) -> str:
    """Post one CloudEvent in binary mode, as any client would; returns its id."""
    core = {"specversion": "1.0", "id": str(uuid4()), "source": "/plant/line-3"} | attributes
    headers = {f"ce-{name}": value for name, value in core.items()} | {"content-type": "application/json"}
    answer = httpx.post(home.settings.sink, headers=headers, content=orjson.dumps(data), timeout=30)
    assert answer.status_code == 202, answer.text
    return core["id"]


def samples(home: RunningHome, block: Sequence[Sequence[float]], series: str, **attributes: str) -> str:
    data = {"rows": block, "channels": CHANNELS, "series": series}
    return post(home, {"type": SamplesReceived.type, "subject": "pump"} | attributes, data)


def anomalies(home: RunningHome, series: str) -> list[Any]:
    found = [orjson.loads(one.data or b"") for one in home.events(AnomalyDetected.type)]
    return [one for one in found if one["series"] == series]


def test_samples_become_anomalies_that_the_command_line_shows(home: RunningHome) -> None:
    samples(home, values(60), "line-3")
    cause = samples(home, values(5) + broken(30), "line-3")
    began = home.until(lambda: anomalies(home, "line-3"), 20, "the alarm")[0]
    serving = home.status()["serving"]["name"]
    assert (began["began"], began["ended"], began["revision"]) == (True, False, serving)
    assert began["score"] > began["threshold"]
    assert set(began["channels"]) < set(CHANNELS)
    samples(home, values(200, seed=6), "line-3")
    home.until(lambda: any(one["ended"] for one in anomalies(home, "line-3")), 20, "the alarm's end")
    command = [sys.executable, "-m", "homeostat.infra.cli", "events", "--output", "json"]
    command += ["--state", str(home.settings.state)]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    events = [json.loads(line) for line in listed.splitlines()]
    (shown, *_) = [one for one in events if one["type"] == AnomalyDetected.type]
    assert (shown["subject"], shown["causationid"]) == ("pump", cause)


def test_an_event_that_is_posted_twice_is_scored_once(home: RunningHome) -> None:
    for _ in range(3):
        samples(home, values(30) + broken(40), "twice", id="the-same")
    samples(home, values(30) + broken(40), "after")  # of the same subject, so it comes last
    home.until(lambda: anomalies(home, "after"), 20, "the next alarm")
    assert len(anomalies(home, "twice")) == 1
    assert 'homeostat_stream_rows_total{detector="pump",fate="in_order"}' in (
        httpx.get(f"{home.settings.url}/metrics", timeout=5).text
    )


def test_kafka_records_find_their_detector_by_the_sources_extension(home: RunningHome) -> None:
    for offset, row in enumerate(values(30) + broken(30)):
        attributes = {
            "type": KafkaRecord.type,
            "source": "/apis/v1/namespaces/homeostat/kafkasources/plant#samples",
            "id": f"partition:0/offset:{offset}",
            "subject": f"partition:0#{offset}",
            "detector": "pump",
            "key": "rig-7",
        }
        post(home, attributes, {"datetime": "2026-03-01 08:00:00", **dict(zip(CHANNELS, row, strict=True))})
    home.until(lambda: anomalies(home, "rig-7"), 20, "the alarm")


def test_rows_that_are_none_end_in_the_dead_letters_with_every_fault(home: RunningHome) -> None:
    identity = samples(home, [[1.0], ["x", *[1.0] * (len(CHANNELS) - 1)]], "bad")  # type: ignore[list-item]

    def letter() -> Any:
        return next((one for one in dead_letters(home.settings) if one["id"] == identity), None)

    reason = home.until(letter, 20, "the dead letter")["reason"]
    assert "data.rows.0" in reason
    assert f"data.rows.1.{CHANNELS[0]}" in reason


@pytest.mark.skipif("manifests" not in Settings.model_fields, reason="the home takes no further manifests")
def test_an_ordinary_trigger_takes_anomalies_to_a_webhook(home: RunningHome, webhook: Webhook) -> None:
    samples(home, values(60) + broken(30), "paged")

    def paged() -> Any:
        return [one for one in webhook.heard if orjson.loads(one[1])["series"] == "paged"]

    headers, body = home.until(paged, 20, "the webhook's call")[0]
    assert headers["ce-type"] == AnomalyDetected.type
    assert headers["ce-subject"] == "pump"
    assert orjson.loads(body)["began"] is True
