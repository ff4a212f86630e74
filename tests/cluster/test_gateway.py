"""The gateway as a Service: shut without a token; objects find their Detector among the custom resources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from starlette.testclient import TestClient

from homeostat.eventing.doors import token_file
from homeostat.eventing.wire import WireEvent
from homeostat.infra.cluster.gateway import gateway_app, keep
from homeostat.infra.cluster.settings import read
from tests.cluster.api_server import ApiServer
from tests.cluster.callers import BASE, detector, objects
from tests.cluster.test_settings import ENOUGH

ALERT = {
    "version": "4",
    "groupKey": "g",
    "status": "firing",
    "receiver": "homeostat",
    "groupLabels": {},
    "commonLabels": {"detector": "pump"},
    "commonAnnotations": {},
    "externalURL": "",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "Hot", "detector": "pump"},
            "annotations": {},
            "startsAt": "2026-11-24T12:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "",
            "fingerprint": "f1",
        }
    ],
}


class Gateway:
    """The app over an API server, and what it posted."""

    def __init__(self, server: ApiServer, folder: Path, **settings: str) -> None:
        self.posted: list[WireEvent] = []

        async def accept(events: Sequence[WireEvent]) -> None:
            self.posted += events

        roles = yaml.safe_load_all((BASE / "gateway" / "gateway.yaml").read_text())
        server.put(*(one for one in roles if one["kind"].startswith("Role")))
        told = read({**ENOUGH, "HOMEOSTAT_OBJECTS_URL": f"file://{folder}", **settings})
        self.client = TestClient(gateway_app(told, objects(server, "gateway"), accept, folder))

    def landed(self, uri: str, token: str = "") -> httpx.Response:
        event = {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventTime": "2026-11-24T12:00:00.000Z",
            "eventName": "ObjectCreated:Put",
            "s3": {
                "bucket": {"name": uri.partition("/")[0]},
                "object": {"key": uri.partition("/")[2], "eTag": "e", "size": 9, "sequencer": "01"},
            },
        }
        headers = {"authorization": f"Bearer {token}"} if token else {}
        found: httpx.Response = self.client.post(
            "/gateway/storage/s3", json={"Records": [event]}, headers=headers
        )
        return found


@pytest.fixture
def opened(server: ApiServer, tmp_path: Path) -> Gateway:
    return Gateway(server, tmp_path, HOMEOSTAT_OPEN_DOORS="true")


def test_a_door_without_a_token_is_shut(server: ApiServer, tmp_path: Path) -> None:
    gateway = Gateway(server, tmp_path)
    assert gateway.landed("plant/pump/a.csv").status_code == 401
    assert gateway.client.post("/gateway/alertmanager", json=ALERT).status_code == 401
    assert not gateway.posted


def test_a_token_of_the_secret_opens_its_own_door_and_no_other(server: ApiServer, tmp_path: Path) -> None:
    _, token = token_file.create(tmp_path / "tokens.json", "storage", "store", None)
    gateway = Gateway(server, tmp_path)
    assert gateway.landed("plant/pump/a.csv", token).status_code == 202
    refused = gateway.client.post(
        "/gateway/alertmanager", json=ALERT, headers={"authorization": f"Bearer {token}"}
    )
    assert refused.status_code in (401, 403)
    assert [one.attributes["type"] for one in gateway.posted] == ["dev.homeostat.data.landed"]


def test_an_object_is_announced_to_the_detector_whose_it_is(opened: Gateway, server: ApiServer) -> None:
    assert opened.landed("plant/pump/a.csv").json() == {"accepted": 1, "unmatched": 0}
    assert opened.posted[0].attributes["subject"] == "pump"
    assert opened.landed("plant/other/a.csv").json() == {"accepted": 0, "unmatched": 1}
    assert {one[0] for one in server.said("gateway")} == {"list"}


def test_a_detector_that_was_just_applied_has_its_objects(opened: Gateway, server: ApiServer) -> None:
    assert opened.landed("plant/new/a.csv").json()["accepted"] == 0
    server.put(detector("new"))
    assert opened.landed("plant/new/a.csv").json()["accepted"] == 1


def test_many_objects_of_known_detectors_cost_one_look(opened: Gateway, server: ApiServer) -> None:
    for place in range(20):
        assert opened.landed(f"plant/pump/{place}.csv").status_code == 202
    assert len(server.said("gateway")) == 1


def test_an_api_server_that_is_away_has_the_store_send_it_again(opened: Gateway, server: ApiServer) -> None:
    server.accounts.clear()
    answer = opened.landed("plant/pump/a.csv")
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    assert not opened.posted


def test_an_object_that_comes_as_data_is_kept_first(opened: Gateway, tmp_path: Path) -> None:
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-type": "dev.knative.eventing.aws-s3",
        "ce-source": "aws-s3-source",
        "ce-subject": "aws-s3-source",
        "ce-detector": "pump",
        "content-type": "text/csv",
    }
    rows = b"datetime,a\n2026-11-24 12:00:00,1.0\n"
    assert opened.client.post("/gateway/storage/knative-s3", content=rows, headers=headers).status_code == 202
    (kept,) = (tmp_path / "uploads").iterdir()
    assert kept.read_bytes() == rows


def test_what_is_kept_stays_below_its_folder(tmp_path: Path) -> None:
    for name in ("../../outside.csv", "/etc/passwd", "a.csv"):
        address = keep(f"file://{tmp_path}/uploads", name, b"x")
        assert Path(address.removeprefix("file://")).parent == tmp_path / "uploads"


def test_probes_and_figures_need_no_token(server: ApiServer, tmp_path: Path) -> None:
    gateway = Gateway(server, tmp_path)
    for path in ("/healthz", "/readyz", "/metrics"):
        assert gateway.client.get(path).status_code == 200
    assert "homeostat_gateway_accepted_total" in gateway.client.get("/metrics").text


def test_what_is_no_door_is_not_there(opened: Gateway) -> None:
    found: Any = opened.client.post("/gateway/nowhere", json={})
    assert found.status_code == 404
