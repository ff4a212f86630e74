"""The Open Inference Protocol's own OpenAPI against a real predictor, driven by schemathesis."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import yaml

from homeostat.models import artifact
from tests.models.predictors import detector, running

Document = dict[str, Any]
WELL_SHAPED = {"name": "rows", "shape": [2, 2], "datatype": "FP64", "data": [0.0, 1.0, 2.0, 30.0]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("models") / "pump-abc"
    artifact.save(detector(), folder, {"version": "7"})
    with running(folder) as client:
        yield client


@pytest.fixture
def openapi(shared: Path) -> Document:
    """The protocol's. Its paths write a parameter as `${NAME}`, where OpenAPI writes `{NAME}`."""
    text = (shared / "vectors/open-inference/open_inference_rest.yaml").read_text(encoding="utf-8")
    found: Document = yaml.safe_load(re.sub(r"\$\{(MODEL_\w+)\}", r"{\1}", text))
    return found


def of_the_served_model(openapi: Document) -> None:
    """Only its name and version are asked for."""
    paths = openapi["paths"]
    for path in list(paths):
        served = paths.pop(path)
        served.pop("parameters", None)
        paths[path.format(MODEL_NAME="pump", MODEL_VERSION="7")] = served


def of_its_shape(openapi: Document) -> None:
    """Tensors are of its shape, and outputs those that it has: what the protocol's OpenAPI cannot know."""
    openapi["paths"]["/v2/models/pump/versions/7/infer"]["post"]["requestBody"]["required"] = True
    schemas = openapi["components"]["schemas"]
    nothing = {"type": "object", "additionalProperties": False}
    schemas["inference_request"]["properties"]["inputs"] |= {"minItems": 1, "maxItems": 1}
    for part in ("inference_request", "request_input", "request_output"):
        schemas[part]["properties"]["parameters"] = nothing
    number = {"type": "number", "minimum": -1e9, "maximum": 1e9}
    schemas["request_input"]["properties"] |= {
        "shape": {"enum": [[3, 2]]},
        "datatype": {"enum": ["FP64", "FP32"]},
        "data": {"type": "array", "items": number, "minItems": 6, "maxItems": 6},
    }
    schemas["request_output"]["properties"]["name"]["enum"] = ["score", "anomaly"]


def drive(openapi: Document, server: httpx.Client, folder: Path, *options: str) -> None:
    """Let schemathesis loose: on what the schema has, one by one, and by chance. Fails with its report."""
    (folder / "openapi.yaml").write_text(yaml.safe_dump(openapi), encoding="utf-8")
    command = [sys.executable, "-m", "schemathesis.cli", "run", "openapi.yaml", "--url", str(server.base_url)]
    command += ["--max-examples", "20", "--no-color", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: 6" in done.stdout


def test_no_request_for_any_model_ends_in_a_server_error_or_another_schema(
    openapi: Document, server: httpx.Client, tmp_path: Path
) -> None:
    # A model that is not there is a 404, of which the OpenAPI does not speak.
    checks = "not_a_server_error,response_schema_conformance,content_type_conformance"
    drive(openapi, server, tmp_path, "--checks", checks, "--phases", "fuzzing")


def test_the_served_model_keeps_every_check_but_taking_any_shape(
    openapi: Document, server: httpx.Client, tmp_path: Path
) -> None:
    of_the_served_model(openapi)
    drive(openapi, server, tmp_path, "--exclude-checks", "positive_data_acceptance")


def test_well_shaped_requests_are_all_answered_in_the_protocols_schema(
    openapi: Document, server: httpx.Client, tmp_path: Path
) -> None:
    of_the_served_model(openapi)
    of_its_shape(openapi)
    # Other shapes than these are taken as well.
    drive(openapi, server, tmp_path, "--exclude-checks", "negative_data_rejection", "--phases", "fuzzing")


def test_a_score_is_answered_in_the_protocols_own_schema(openapi: Document, server: httpx.Client) -> None:
    answer = server.post("/v2/models/pump/versions/7/infer", json={"id": "42", "inputs": [WELL_SHAPED]})
    assert answer.status_code == 200
    schemas = {"components": openapi["components"]}
    jsonschema.validate(answer.json(), {"$ref": "#/components/schemas/inference_response", **schemas})
