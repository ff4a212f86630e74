"""The API servers that this room asks: one in this process, and a real one where KUBEBUILDER_ASSETS says
where its binaries are. `server` is the first, whose insides a test may turn; `cluster` is each in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.api_server import ApiServer, serving
from tests.cluster.callers import Server, detector, roles, trial
from tests.cluster.kube_apiserver import KubeApiServer
from tests.cluster.kube_apiserver import running as really_running
from tests.cluster.kube_apiserver_process import WITHOUT, assets

BOTH = ("in-process", "kube-apiserver")


@pytest.fixture(scope="module")
def running() -> Iterator[ApiServer]:
    with serving(ApiServer()) as server:
        yield server


@pytest.fixture
def server(shared: Path, running: ApiServer) -> ApiServer:
    for kept in (running.calls, running.troubles, running.objects, running.accounts):
        kept.clear()
    running.put(*roles(), trial(), detector("pump"))
    return running


@pytest.fixture(scope="session")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApiServer]:
    binaries = assets()
    if binaries is None:
        pytest.skip(WITHOUT)
    with really_running(binaries, tmp_path_factory.mktemp("kube-apiserver")) as server:
        yield server


@pytest.fixture(params=BOTH)
def cluster(request: pytest.FixtureRequest) -> Server:
    """An API server with the functions' Roles and a Detector `pump`."""
    if request.param == "in-process":
        found: ApiServer = request.getfixturevalue("server")
        return found
    server: KubeApiServer = request.getfixturevalue("real")
    server.clear()
    server.put(*roles(), trial(), detector("pump"))
    return server
