"""What a predictor counts of its requests, by which a canary is judged where no router of ours stands."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message, Receive, Scope, Send

from homeostat.functions.canary import LATENCY_BUCKETS_MS, SCORE_BUCKETS
from homeostat.models import artifact
from homeostat.models.predictor import REVISION
from homeostat.models.predictor_metrics import OUTCOMES, RATIOS, REQUEST_SECONDS
from homeostat.models.request_counting import Counted
from tests.models.predictors import command, detector, free_port, running

PREDICT, INFER = "/v1/models/pump:predict", "/v2/models/pump/infer"
ROW = {"instances": [[0.1, -0.2]]}
TENSOR = {"name": "rows", "shape": [1, 2], "datatype": "FP64", "data": [0.1, -0.2]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models") / "pump-abc"
    artifact.save(detector(), place, {"version": "7"})
    return place


@pytest.fixture(scope="module")
def grpc_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(folder: Path, grpc_port: int) -> Iterator[httpx.Client]:
    options = ("--host", "127.0.0.1", "--enable_grpc", "true", "--grpc_port", str(grpc_port))
    with running(folder, *options) as client:
        yield client


def counted(server: httpx.Client) -> dict[str, float]:
    """By outcome; `slow` is how many took longer than the last bound, `timed` how many were timed."""
    families = text_string_to_metric_families(server.get("/metrics").text)
    samples = [
        one for family in families for one in family.samples if one.labels.get("revision") == "pump-abc"
    ]
    found = {one.labels["outcome"]: one.value for one in samples if one.name == "homeostat_requests_total"}
    buckets = {
        one.labels["le"]: one.value for one in samples if one.name == "homeostat_request_seconds_bucket"
    }
    return {**found, "timed": buckets["+Inf"]}


def gained(server: httpx.Client, act: Callable[[], Any]) -> dict[str, float]:
    before = counted(server)
    act()
    time.sleep(0.1)  # a gRPC client hears of its refusal a moment before it is counted
    return {name: after - before[name] for name, after in counted(server).items() if after != before[name]}


def test_latency_and_scores_are_counted_by_the_bounds_that_canaries_are_judged_by() -> None:
    assert [bound * 1000 for bound in REQUEST_SECONDS] == list(LATENCY_BUCKETS_MS)
    assert RATIOS == SCORE_BUCKETS


def test_before_its_first_request_a_revision_has_zeros_and_not_nothing(server: httpx.Client) -> None:
    assert counted(server).keys() == {*OUTCOMES, "timed"}


@pytest.mark.parametrize(
    ("path", "body", "outcome"),
    [
        (PREDICT, ROW, "ok"),
        (INFER, {"inputs": [TENSOR]}, "ok"),
        (PREDICT, {"instances": []}, "rejected"),
        (INFER, {"inputs": []}, "rejected"),
        ("/v1/models/other:predict", ROW, "rejected"),
        (f"{INFER}?", {"inputs": [{**TENSOR, "shape": [9, 9]}]}, "rejected"),
    ],
)
def test_each_inference_request_is_counted_once(
    server: httpx.Client, path: str, body: Any, outcome: str
) -> None:
    assert gained(server, lambda: server.post(path, json=body)) == {outcome: 1, "timed": 1}


def test_probes_and_scrapes_are_no_requests(server: httpx.Client) -> None:
    def look() -> None:
        for path in ("/v2/health/ready", "/v2/models/pump/ready", "/v1/models/pump", "/metrics", "/"):
            assert server.get(path).status_code == 200

    assert gained(server, look) == {}


def test_a_client_that_leaves_before_it_has_asked_is_nobodys_error(server: httpx.Client) -> None:
    def leave() -> None:
        with socket.create_connection((server.base_url.host, server.base_url.port)) as one:
            head = f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            one.sendall(f"{head}content-length: 100\r\n\r\n{{".encode())
            time.sleep(0.3)
        time.sleep(0.3)

    assert gained(server, leave) == {}


def test_calls_over_grpc_are_counted_as_well(server: httpx.Client, grpc_port: int) -> None:
    def call(shape: list[int]) -> None:
        contents = pb.InferTensorContents(fp64_contents=[0.1, -0.2])
        one = pb.ModelInferRequest.InferInputTensor(
            name="rows", shape=shape, datatype="FP64", contents=contents
        )
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
            stub = GRPCInferenceServiceStub(channel)
            stub.ServerReady(pb.ServerReadyRequest())
            stub.ModelInfer(pb.ModelInferRequest(model_name="pump", inputs=[one]))

    assert gained(server, lambda: call([1, 2])) == {"ok": 1, "timed": 1}

    def refused() -> None:
        with pytest.raises(grpc.RpcError):
            call([7, 7])

    assert gained(server, refused) == {"rejected": 1, "timed": 1}


# --- what an answer counts as ------------------------------------------------------------------------------
def outcomes(status: int | None, path: str = PREDICT) -> list[str]:
    """What is counted of a request that an app answers so; None: it fails without an answer."""
    found: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if status is None:
            raise MemoryError
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: Message) -> None: ...

    async def story() -> None:
        counted = Counted(app, lambda outcome, seconds: found.append(outcome))
        await counted({"type": "http", "method": "POST", "path": path}, receive, send)

    if status is None:
        with pytest.raises(MemoryError):
            asyncio.run(story())
    else:
        asyncio.run(story())
    return found


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "ok"), (400, "rejected"), (404, "rejected"), (500, "error"), (503, "error"), (None, "error")],
)
def test_an_answer_counts_as_what_it_is(status: int | None, outcome: str) -> None:
    assert outcomes(status) == [outcome]


def test_what_asks_for_no_inference_is_not_counted() -> None:
    assert outcomes(200, "/v2/repository/models/pump/load") == []


# --- by which name -----------------------------------------------------------------------------------------
def ended(folder: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A predictor of no artifact, which ends at once."""
    head = command(folder, 0)[:3]
    own = [*head, "--model_name", "pump", "--model_dir", str(folder), *options]
    environment = {**os.environ, **variables}
    return subprocess.run(own, capture_output=True, text=True, check=False, env=environment, timeout=60)


@pytest.mark.parametrize("name", ["pump\nabc", 'pump"} or {x="', "Pump", "-pump", "p" * 129])
def test_a_revision_that_is_no_name_is_refused_with_the_mend(tmp_path: Path, name: str) -> None:
    found = ended(tmp_path, **{REVISION: name})
    assert found.returncode == 2
    assert f"{REVISION} is {name!r}" in found.stderr
    assert "name it by" in found.stderr


def test_what_the_command_says_wins_over_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REVISION, "pump-other")
    with running(folder) as client:
        assert client.post(PREDICT, json=ROW).json()["revision"] == "pump-abc"
        assert 'homeostat_requests_total{outcome="ok",revision="pump-abc"} 1.0' in client.get("/metrics").text
