"""The API server that several files of this room ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.api_server import ApiServer, serving
from tests.cluster.callers import detector, roles


@pytest.fixture(scope="module")
def running() -> Iterator[ApiServer]:
    with serving(ApiServer()) as server:
        yield server


@pytest.fixture
def server(shared: Path, running: ApiServer) -> ApiServer:
    for kept in (running.calls, running.troubles, running.objects, running.accounts):
        kept.clear()
    running.put(*roles(), detector("pump"))
    return running
