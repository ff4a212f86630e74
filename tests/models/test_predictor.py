"""One artifact behind KServe's protocols, in a real ModelServer process."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from homeostat.models import artifact, protocol
from homeostat.models.fitted import Fitted
from homeostat.models.micro_batching import judge_together, of_windows
from homeostat.models.predictor import EX_DATAERR, PARENT_PID
from homeostat.models.predictor_metrics import RATIOS, Histogram
from tests.models.predictors import CHANNELS, WINDOW, command, detector, running

ROWS = [[0.1, -0.2], [25.0, 25.0], [25.0, 25.0]]
FLAT = [value for row in ROWS for value in row]
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return detector()


@pytest.fixture(scope="module")
def folder(fitted: Fitted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models") / "pump-abc"
    artifact.save(fitted, place, {"version": "7"})
    return place


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[httpx.Client]:
    with running(folder) as client:
        yield client


def v1(server: httpx.Client, body: Any, headers: dict[str, str] = JSON) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return server.post("/v1/models/pump:predict", content=content, headers=headers)


def v2(server: httpx.Client, **fields: Any) -> httpx.Response:
    rows = {"name": "rows", "shape": [3, 2], "datatype": "FP64", "data": FLAT, **fields}
    return server.post("/v2/models/pump/infer", json={"inputs": [rows]})


def metric(server: httpx.Client, name: str) -> float:
    families = text_string_to_metric_families(server.get("/metrics").text)
    return next(one.value for family in families for one in family.samples if one.name == name)


# --- what it answers -------------------------------------------------------------------------------------
def test_v1_answers_the_artifacts_own_scores_and_flags(server: httpx.Client, fitted: Fitted) -> None:
    answer = v1(server, {"instances": ROWS}).json()
    wanted = fitted.score(np.array(ROWS))
    assert [one["score"] for one in answer["predictions"]] == pytest.approx(wanted.tolist(), abs=1e-12)
    assert [one["anomaly"] for one in answer["predictions"]] == fitted.anomalies(wanted).tolist()
    assert answer["predictions"][2]["anomaly"] is True
    assert answer["threshold"] == fitted.threshold
    assert (answer["revision"], answer["model_version"]) == ("pump-abc", "7")


def test_v2_answers_the_same_as_v1(server: httpx.Client) -> None:
    predictions = v1(server, {"instances": ROWS}).json()["predictions"]
    for fields in ({}, {"data": ROWS}, {"datatype": "FP32"}):
        answer = v2(server, **fields).json()
        outputs = {one["name"]: one for one in answer["outputs"]}
        assert outputs["score"]["data"] == pytest.approx([one["score"] for one in predictions], abs=1e-6)
        assert outputs["anomaly"]["data"] == [one["anomaly"] for one in predictions]
        assert outputs["score"]["shape"] == [3]
        assert (outputs["score"]["datatype"], outputs["anomaly"]["datatype"]) == ("FP64", "BOOL")


def test_v2_reads_the_binary_extension(server: httpx.Client) -> None:
    raw = struct.pack("<6d", *FLAT)
    tensor = {"name": "rows", "shape": [3, 2], "datatype": "FP64", "parameters": {"binary_data_size": 48}}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
    answer = server.post("/v2/models/pump/infer", content=head + raw, headers=headers).json()
    assert answer["outputs"][0]["data"] == v2(server).json()["outputs"][0]["data"]
    cut = server.post("/v2/models/pump/infer", content=head + raw[:-8], headers=headers)
    assert (cut.status_code, "is 48 where 40 bytes follow" in cut.text) == (400, True)


def test_a_content_type_with_a_charset_is_json_all_the_same(server: httpx.Client) -> None:
    headers = {"content-type": "application/json; charset=utf-8"}
    assert v1(server, {"instances": ROWS}, headers).status_code == 200


def test_many_rows_are_scored_like_few(server: httpx.Client, fitted: Fitted) -> None:
    rows = np.random.default_rng(9).normal(size=(2000, 2))
    answer = v1(server, {"instances": rows.tolist()}).json()
    assert [one["score"] for one in answer["predictions"]] == pytest.approx(fitted.score(rows), abs=1e-12)


@given(length=st.integers(1, 3 * WINDOW))
def test_a_window_scores_as_its_last_row_does(fitted: Fitted, length: int) -> None:
    windows = np.random.default_rng(length).normal(size=(3, length, 2))
    last: NDArray[np.float64] = np.array([fitted.score(window)[-1] for window in windows])
    assert judge_together(fitted, [of_windows(windows)])[0][0] == pytest.approx(last, abs=1e-12)


# --- what it refuses -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("instances", "says"),
    [
        ([[1.0]], "instances is of shape [1, 1]"),
        ([[1.0, 2.0], [3.0]], "instances[1] is a list of 1"),
        ([], "instances is of shape [0]"),
        ([[]], "instances is of shape [1, 0]"),
        ([["1.5", 2.0]], "instances[0][0] is '1.5'"),
        ([[1.0, None]], "instances[0][1] is None"),
        ([[True, False]], "instances[0][0] is True"),
        ([[{"a": 1}, 2.0]], "instances[0][0] is {'a': 1}"),
        ([[[[1.0, 2.0]]]], "instances is of shape [1, 1, 1, 2]"),
        ("rows", "instances is 'rows'"),
        (5, "instances is 5"),
        ([[1.0, 2.0]] * (protocol.MAX_ROWS + 1), "instances is 10001 rows long"),
        ([[[1.0, 2.0]] * 101] * 100, "instances is 10100 rows long"),
    ],
)
def test_rows_that_cannot_be_scored_are_a_400_with_the_expected_shape(
    server: httpx.Client, instances: Any, says: str
) -> None:
    answer = v1(server, {"instances": instances})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(says)
    assert "send n rows in the order of time, shape [n, 2]" in answer.json()["error"]
    assert "channels: pressure, flow" in answer.json()["error"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[" * 5000, b"\xff\xfe", b"5", b'{"instances": [[NaN, 1]]}', b'{"instances": [[1e999, 1]]}'],
)
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_bytes_that_are_no_request_are_a_400(server: httpx.Client, body: bytes, kind: str) -> None:
    assert v1(server, body, {"content-type": kind}).status_code == 400


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"shape": [2, 2]}, "inputs.rows.shape is [2, 2] for 6 numbers"),
        ({"shape": [6]}, "inputs.rows.shape is of shape [6]"),
        ({"shape": [2, 3]}, "inputs.rows.shape is of shape [2, 3]"),
        ({"shape": [-1, 2]}, "inputs.rows.shape is [-1, 2]"),
        ({"shape": [2**62, 2]}, "for 6 numbers"),
        ({"datatype": "BYTES"}, "inputs.rows.datatype is 'BYTES'"),
        ({"data": ["x"] * 6}, "inputs.rows.data[0] is 'x'"),
    ],
)
def test_a_tensor_that_cannot_be_scored_is_a_400(
    server: httpx.Client, fields: dict[str, Any], says: str
) -> None:
    answer = v2(server, **fields)
    assert (answer.status_code, says in answer.text) == (400, True), answer.text


# any JSON at all
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(payload=_JSON | st.fixed_dictionaries({"instances": _JSON}))
def test_any_payload_is_an_array_or_an_input_error(payload: object) -> None:
    try:
        values = protocol.instances(payload, CHANNELS)
    except protocol.InputError:
        pass
    else:
        assert values.shape[-1] == 2
        assert np.isfinite(values).all()


@given(shape=st.lists(st.integers(-2, 5), max_size=4), data=_JSON)
def test_any_tensor_is_an_array_or_an_input_error(shape: list[int], data: object) -> None:
    try:
        values = protocol.tensor("rows", shape, "FP64", data, CHANNELS)
    except protocol.InputError:
        pass
    else:
        assert list(values.shape) == shape


# --- what it tells Prometheus ----------------------------------------------------------------------------
def test_rows_anomalies_and_refusals_are_counted(server: httpx.Client) -> None:
    names = [f"homeostat_{what}_total" for what in ("rows", "anomalies", "rejected")]
    before = [metric(server, name) for name in names]
    flagged = sum(one["anomaly"] for one in v1(server, {"instances": ROWS}).json()["predictions"])
    v1(server, {"instances": []})
    assert [metric(server, name) for name in names] == [before[0] + 3, before[1] + flagged, before[2] + 1]
    assert 'homeostat_model_info{algorithm="isolation-forest",revision="pump-abc",version="7"} 1.0' in (
        server.get("/metrics").text
    )


@given(st.lists(st.floats(0, 50) | st.sampled_from(RATIOS), min_size=1, max_size=50))
def test_score_buckets_count_as_prometheus_does(ratios: list[float]) -> None:
    histogram = Histogram("scores", "", RATIOS, "pump-abc")
    histogram.add(np.array(ratios))
    (family,) = histogram.collect()
    counted = {one.labels["le"]: one.value for one in family.samples if one.name.endswith("_bucket")}
    assert counted == {
        **{str(bound): sum(ratio <= bound for ratio in ratios) for bound in RATIOS},
        "+Inf": len(ratios),
    }


# --- the process -----------------------------------------------------------------------------------------
def test_neither_torch_nor_sklearn_is_loaded() -> None:
    script = (
        "import sys; import homeostat.models.predictor;"
        " print([m for m in ('torch', 'sklearn', 'alibi_detect', 'mlflow') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_an_artifact_that_cannot_be_trusted_is_refused_with_the_reason(tmp_path: Path) -> None:
    ended = subprocess.run(command(tmp_path, 0), capture_output=True, text=True, check=False)
    assert ended.returncode == EX_DATAERR
    assert "refused:" in ended.stderr
    assert "manifest.json cannot be read" in ended.stderr


def test_the_server_dies_with_the_process_that_started_it(folder: Path) -> None:
    script = (
        "import os, socket, subprocess, sys, time\n"
        "bound = socket.socket(); bound.bind(('127.0.0.1', 0))\n"
        "own = [one.replace('FD', str(bound.fileno())) for one in sys.argv[1:]]\n"
        f"env = {{**os.environ, {PARENT_PID!r}: str(os.getpid())}}\n"
        "child = subprocess.Popen(own, pass_fds=[bound.fileno()], env=env)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    own = [*command(folder, 0)[:-1], "FD"]
    starter = subprocess.Popen([sys.executable, "-c", script, *own], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    with starter.stdout:
        child = psutil.Process(int(starter.stdout.readline()))
        time.sleep(1.5)
        assert child.status() != psutil.STATUS_ZOMBIE
        os.kill(starter.pid, signal.SIGKILL)
        starter.wait()
        _, alive = psutil.wait_procs([child], timeout=10)
    assert not alive
