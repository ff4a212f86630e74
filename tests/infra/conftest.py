"""What several tests of this room stand on."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of moto's server on a free port, at which s3fs looks too."""
    import boto3  # type: ignore[import-untyped]
    from fsspec import get_filesystem_class
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # moto keeps its buckets for the whole process.
    httpx.post(f"http://{host}:{port}/moto-api/reset").raise_for_status()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    get_filesystem_class("s3").clear_instance_cache()
    client = boto3.client("s3")
    client.create_bucket(Bucket="plant")
    try:
        yield client
    finally:
        client.close()
        get_filesystem_class("s3").clear_instance_cache()
        with contextlib.suppress(Exception):
            server.stop()
