"""Predictors as KServe's pods begin them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx

from homeostat.functions.detector import Revision
from homeostat.infra.cluster.inference_service import Options, predictor
from tests.cluster.scraped import eventually
from tests.models.predictors import free_port


@contextlib.contextmanager
def predicting(folder: Path, revision: Revision) -> Iterator[httpx.Client]:
    """A predictor as a pod begins it, named by its InferenceService and by nothing else."""
    port = free_port()
    named = {one["name"]: one["value"] for one in predictor(revision, Options("knative"))["model"]["env"]}
    own = [
        "--model_name",
        "pump",
        "--model_dir",
        str(folder),
        "--http_port",
        str(port),
        "--host",
        "127.0.0.1",
    ]
    command = [sys.executable, "-m", "homeostat.models.predictor", *own]
    process = subprocess.Popen(command, env={**os.environ, **named})
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        try:
            eventually(lambda: client.get("/v2/health/ready").status_code, 200, 90)
            yield client
        finally:
            process.terminate()
            assert process.wait(20) in (0, -signal.SIGTERM)
