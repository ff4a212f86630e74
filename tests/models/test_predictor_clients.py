"""What a predictor does with series, with many requests at once, and over gRPC, in a real process."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import psutil
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from numpy.typing import NDArray

from homeostat.models import artifact
from homeostat.models.fitted import Fitted
from tests.models.predictors import CHANNELS, WINDOW, detector, free_port, running

PREDICT, INFER = "/v1/models/pump:predict", "/v2/models/pump/infer"


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return detector()


@pytest.fixture(scope="module")
def grpc_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(
    fitted: Fitted, grpc_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("models") / "pump-abc"
    artifact.save(fitted, folder, {"version": "7"})
    options = ("--host", "127.0.0.1", "--enable_grpc", "true", "--grpc_port", str(grpc_port))
    with running(folder, *options) as client:
        yield client


@pytest.fixture(scope="module")
def stub(server: httpx.Client, grpc_port: int) -> Iterator[Any]:
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
        yield GRPCInferenceServiceStub(channel)


def stretch(n: int, seed: int = 5) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(n, 2)) * 3


def scores(answer: httpx.Response) -> list[float]:
    assert answer.status_code == 200, answer.text
    return [one["score"] for one in answer.json()["predictions"]]


def tensor(rows: NDArray[Any]) -> dict[str, Any]:
    return {
        "name": "rows",
        "shape": list(rows.shape),
        "datatype": "FP64",
        "data": rows.ravel().tolist(),
    }


# --- series ----------------------------------------------------------------------------------------------
def test_a_series_sent_row_by_row_scores_as_the_whole_stretch(server: httpx.Client, fitted: Fitted) -> None:
    rows = stretch(3 * WINDOW)
    answers = [server.post(PREDICT, json={"instances": [row], "series": "by row"}) for row in rows.tolist()]
    assert [scores(one)[0] for one in answers] == fitted.score(rows).tolist()
    assert [one.json()["past"] for one in answers] == [min(k, WINDOW - 1) for k in range(len(rows))]


def test_a_series_may_be_named_in_any_of_the_ways_and_is_the_same_one(
    server: httpx.Client, stub: Any, fitted: Fitted
) -> None:
    rows, header = stretch(5), {"x-homeostat-series": "named"}
    v2_body = {"inputs": [tensor(rows[2:3])], "parameters": {"series": "named"}}
    found = [
        scores(server.post(PREDICT, json={"instances": rows[:1].tolist(), "series": "named"}))[0],
        scores(server.post(PREDICT, json={"instances": rows[1:2].tolist()}, headers=header))[0],
        server.post(INFER, json=v2_body).json()["outputs"][0]["data"][0],
        stub.ModelInfer(request(rows[3:4], series="named")).outputs[0].contents.fp64_contents[0],
        stub.ModelInfer(request(rows[4:]), metadata=[*header.items()]).outputs[0].contents.fp64_contents[0],
    ]
    assert found == fitted.score(rows).tolist()


def test_a_reset_series_starts_anew(server: httpx.Client, fitted: Fitted) -> None:
    rows = stretch(6)
    server.post(PREDICT, json={"instances": rows[:3].tolist(), "series": "gap"})
    again = server.post(PREDICT, json={"instances": rows[3:].tolist(), "series": "gap", "reset": True})
    assert scores(again) == fitted.score(rows[3:]).tolist()
    assert again.json()["past"] == 0


def test_a_refused_request_leaves_its_series_as_it_was(server: httpx.Client, fitted: Fitted) -> None:
    rows = stretch(4)
    server.post(PREDICT, json={"instances": rows[:3].tolist(), "series": "kept"})
    assert server.post(PREDICT, json={"instances": [[1.0]], "series": "kept"}).status_code == 400
    found = server.post(PREDICT, json={"instances": rows[3:].tolist(), "series": "kept"})
    assert scores(found)[0] == fitted.score(rows)[3]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"series": 5}, "series is '5': name the series by 1 to 200 characters"),
        ({"series": ""}, "series is '': name the series"),
        ({"series": "x" * 201}, "name the series by 1 to 200 characters"),
        ({"series": "a", "reset": "yes"}, "reset is 'yes': give true or false"),
        ({"reset": True}, "reset is True without a series"),
        ({"explain": 1}, "explain is '1': give true or false"),
        (
            {"series": "a", "instances": [[[1.0, 2.0]]]},
            "with windows, shape [1, 1, 2]: a series is continued by its new rows alone, shape [n, 2]",
        ),
    ],
)
def test_options_that_make_no_sense_are_a_400(
    server: httpx.Client, options: dict[str, Any], says: str
) -> None:
    answer = server.post(PREDICT, json={"instances": [[1.0, 2.0]], **options})
    assert (answer.status_code, says in answer.json()["error"]) == (400, True), answer.text


# --- rows before -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("cut", [0, 1, WINDOW - 1, WINDOW + 3])
def test_rows_with_their_past_are_scored_as_in_the_whole_stretch_and_alone_are_counted(
    server: httpx.Client, fitted: Fitted, cut: int
) -> None:
    rows = stretch(WINDOW + 5)
    before = rows_counted(server)
    answer = server.post(PREDICT, json={"instances": rows[cut:].tolist(), "past": rows[:cut].tolist()})
    assert scores(answer) == fitted.score(rows)[cut:].tolist()
    assert (answer.json()["past"], answer.json()["tail"]) == (min(cut, WINDOW - 1), WINDOW - 1)
    assert rows_counted(server) - before == len(rows) - cut


def test_a_past_is_explained_with_and_leaves_nothing_behind(server: httpx.Client, fitted: Fitted) -> None:
    rows = stretch(WINDOW)
    body = {"instances": rows[-1:].tolist(), "past": rows[:-1].tolist(), "explain": True}
    window = {"instances": [rows.tolist()], "explain": True}
    told = [server.post(PREDICT, json=one).json()["predictions"] for one in (body, window)]
    assert told[0] == told[1]
    assert scores(server.post(PREDICT, json={"instances": rows.tolist()})) == fitted.score(rows).tolist()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"past": [[1.0]]}, "past is of shape [1, 1]: send n rows in the order of time"),
        ({"past": [[[1.0, 2.0]]]}, "past is of shape [1, 1, 2], windows"),
        ({"past": [[1.0, "x"]]}, "past[0][1] is 'x'"),
        ({"past": None}, "past is None"),
        ({"past": [[1.0, None]]}, "past[0][1] is None"),
        ({"past": [], "series": "a"}, "past is given with the series 'a'"),
        ({"past": [], "instances": [[[1.0, 2.0]]]}, "past is given with windows"),
    ],
)
def test_a_past_that_cannot_be_is_a_400(server: httpx.Client, options: dict[str, Any], says: str) -> None:
    answer = server.post(PREDICT, json={"instances": [[1.0, 2.0]], **options})
    assert (answer.status_code, says in answer.json()["error"]) == (400, True), answer.text


def rows_counted(server: httpx.Client) -> float:
    lines = server.get("/metrics").text.splitlines()
    return next(float(one.split()[-1]) for one in lines if one.startswith("homeostat_rows_total{"))


# --- many at once ----------------------------------------------------------------------------------------
def test_concurrent_requests_get_what_they_get_alone_and_a_bad_one_fails_alone(
    server: httpx.Client, fitted: Fitted
) -> None:
    async def all_at_once() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=server.base_url, timeout=30) as client:
            return await asyncio.gather(*(client.post(PREDICT, json={"instances": one}) for one in asked))

    asked: list[Any] = [stretch(1 + n % 7, n).tolist() for n in range(60)]
    asked += [stretch(12, n).reshape(3, 4, 2).tolist() for n in range(20)]
    bad = {20: [[1.0]], 41: "rows", 70: [[1.0, None]]}
    for place, one in bad.items():
        asked.insert(place, one)
    for number, (found, one) in enumerate(zip(asyncio.run(all_at_once()), asked, strict=True)):
        if number in bad:
            assert (found.status_code, found.json()["error"][:9]) == (400, "instances")
        elif np.ndim(one) == 2:
            assert scores(found) == fitted.score(np.array(one)).tolist()
        else:
            assert scores(found) == [fitted.score(window)[-1] for window in np.array(one)]


def test_interleaved_series_of_concurrent_clients_do_not_mix(server: httpx.Client, fitted: Fitted) -> None:
    async def one_series(client: httpx.AsyncClient, number: int) -> list[float]:
        name, found = f"client {number}", []
        for row in stretch(8, number).tolist():
            found += scores(await client.post(PREDICT, json={"instances": [row], "series": name}))
        return found

    async def all_series() -> list[list[float]]:
        async with httpx.AsyncClient(base_url=server.base_url, timeout=30) as client:
            return await asyncio.gather(*(one_series(client, number) for number in range(12)))

    for number, found in enumerate(asyncio.run(all_series())):
        assert found == fitted.score(stretch(8, number)).tolist()


# --- why -------------------------------------------------------------------------------------------------
def test_channels_shares_are_answered_when_asked_for(server: httpx.Client) -> None:
    rows = np.array([[0.0, 40.0]])
    for answer in (
        server.post(PREDICT, json={"instances": rows.tolist(), "explain": True}),
        server.post("/v1/models/pump:explain", json={"instances": rows.tolist()}),
    ):
        (one,) = answer.json()["predictions"]
        assert list(one["contributions"]) == list(CHANNELS)
        assert one["contributions"]["flow"] > 0.9
    second = server.post(INFER, json={"inputs": [tensor(rows)], "parameters": {"explain": True}}).json()
    shares = second["outputs"][2]
    assert (shares["name"], shares["shape"]) == ("contributions", [1, 2])
    assert sum(shares["data"]) == pytest.approx(1)
    assert "contributions" not in server.post(PREDICT, json={"instances": rows.tolist()}).text


# --- CloudEvents -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("binary", [True, False])
def test_a_cloud_event_is_answered_by_one(server: httpx.Client, fitted: Fitted, binary: bool) -> None:
    rows = stretch(2)
    event = {"specversion": "1.0", "id": "1", "source": "/test", "type": "rows"}
    data = {"instances": rows.tolist()}
    if binary:
        headers = {f"ce-{key}": value for key, value in event.items()}
        answer = server.post(PREDICT, json=data, headers=headers)
        found = answer.json()
        assert answer.headers["ce-source"]
    else:
        headers = {"content-type": "application/cloudevents+json"}
        event["time"] = "2026-11-24T09:00:00Z"  # KServe tells a structured one by it
        answer = server.post(PREDICT, json={**event, "data": data}, headers=headers)
        found = answer.json()["data"]
    assert [one["score"] for one in found["predictions"]] == fitted.score(rows).tolist()


# --- versions and outputs of V2 --------------------------------------------------------------------------
def test_the_version_may_be_named_and_another_one_is_unknown(server: httpx.Client) -> None:
    body = {"inputs": [tensor(stretch(2))], "id": "42"}
    assert server.post("/v2/models/pump/versions/7/infer", json=body).json()["id"] == "42"
    assert server.get("/v2/models/pump/versions/7").json()["versions"] == ["7"]
    assert server.get("/v2/models/pump/versions/7/ready").json() == {"name": "pump", "ready": True}
    for missing in ("pump/versions/8", "pump/versions/8/ready", "mill"):
        assert server.get(f"/v2/models/{missing}").status_code == 404
    assert server.post("/v2/models/pump/versions/8/infer", json=body).status_code == 404


def test_only_the_outputs_that_are_asked_for_are_answered(server: httpx.Client, fitted: Fitted) -> None:
    rows = stretch(3)
    body = {"inputs": [tensor(rows)], "outputs": [{"name": "anomaly"}]}
    assert [one["name"] for one in server.post(INFER, json=body).json()["outputs"]] == ["anomaly"]
    unknown = server.post(INFER, json={**body, "outputs": [{"name": "colour"}]})
    assert (unknown.status_code, "colour" in unknown.text) == (400, True)
    binary = server.post(
        INFER, json={**body, "outputs": [{"name": "score", "parameters": {"binary_data": True}}]}
    )
    head = int(binary.headers["inference-header-content-length"])
    assert np.frombuffer(binary.content[head:], np.float64).tolist() == fitted.score(rows).tolist()


# --- gRPC ------------------------------------------------------------------------------------------------
def request(rows: NDArray[Any], series: str = "", **fields: Any) -> pb.ModelInferRequest:
    contents = pb.InferTensorContents(fp64_contents=rows.ravel().tolist())
    tensor = {"name": "rows", "shape": rows.shape, "datatype": "FP64", "contents": contents, **fields}
    named = {"series": pb.InferParameter(string_param=series)} if series else {}
    return pb.ModelInferRequest(model_name="pump", id="42", inputs=[tensor], parameters=named)


def test_grpc_answers_the_same_scores(stub: Any, fitted: Fitted) -> None:
    rows = stretch(9)
    answer = stub.ModelInfer(request(rows))
    outputs = {one.name: one for one in answer.outputs}
    assert list(outputs["score"].contents.fp64_contents) == fitted.score(rows).tolist()
    assert list(outputs["anomaly"].contents.bool_contents) == fitted.anomalies(fitted.score(rows)).tolist()
    assert (answer.id, answer.model_name, answer.model_version) == ("42", "pump", "7")
    assert float(answer.parameters["threshold"].string_param) == fitted.threshold


def test_grpc_reads_and_answers_raw_contents(stub: Any, fitted: Fitted) -> None:
    rows = stretch(5).astype(np.float32)
    asked = request(rows, datatype="FP32")
    asked.inputs[0].ClearField("contents")
    asked.raw_input_contents.append(rows.tobytes())
    answer = stub.ModelInfer(asked)
    wanted = fitted.score(rows).tolist()
    assert np.frombuffer(answer.raw_output_contents[0], np.float64).tolist() == wanted


@pytest.mark.parametrize(
    ("asked", "status", "says"),
    [
        (request(np.ones((1, 3))), "INVALID_ARGUMENT", r"shape \[1, 3\]: send n rows .* shape \[n, 2\]"),
        (request(np.ones((2, 2)), shape=[3, 2]), "INVALID_ARGUMENT", r"\[3, 2\] for 4 numbers: send n rows"),
        (request(np.array([[np.nan, 1]])), "INVALID_ARGUMENT", "no finite number"),
        (request(np.ones((1, 2)), datatype="FP16"), "INVALID_ARGUMENT", "'FP16', not one of FP32"),
        (request(np.ones((1, 2)), datatype="COLOUR"), "INVALID_ARGUMENT", "invalid content type"),
        (pb.ModelInferRequest(model_name="pump"), "INVALID_ARGUMENT", "0 tensors, not one"),
        (pb.ModelInferRequest(model_name="pump", model_version="8"), "NOT_FOUND", "version 8"),
        (pb.ModelInferRequest(model_name="mill"), "NOT_FOUND", "mill"),
    ],
)
def test_grpc_refuses_what_cannot_be_scored(stub: Any, asked: Any, status: str, says: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(asked)
    assert caught.value.code() is grpc.StatusCode[status]
    assert re.search(says, caught.value.details())


def test_grpc_tells_of_the_model(stub: Any) -> None:
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    assert stub.ModelReady(pb.ModelReadyRequest(name="pump")).ready
    stated = stub.ModelMetadata(pb.ModelMetadataRequest(name="pump"))
    assert [(one.name, list(one.shape)) for one in stated.inputs] == [("rows", [-1, 2])]


def test_grpc_listens_on_the_given_host_alone(server: httpx.Client, stub: Any, grpc_port: int) -> None:
    stub.ServerLive(pb.ServerLiveRequest())
    bound = {one.laddr for one in psutil.net_connections("tcp") if one.status == "LISTEN"}
    hosts = [address.ip.removeprefix("::ffff:") for address in bound if address.port == grpc_port]
    assert hosts == ["127.0.0.1"]
