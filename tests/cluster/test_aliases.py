"""MLflow's aliases from a cluster's roll-out, set at a real MLflow through its REST API."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from mlflow import MlflowClient
from werkzeug.serving import make_server

from homeostat.infra.cluster.aliases import Aliases
from homeostat.models.registry import register_once
from tests.models.test_registry import REGISTRATION


@pytest.fixture(scope="module")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow's server, in this process, with three versions of `pump`."""
    from mlflow.server import app, handlers

    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    for number in (1, 2, 3):
        register_once(uri, replace(REGISTRATION, run=f"pump-{number}"))
    before = handlers._tracking_store, handlers._model_registry_store
    handlers.initialize_backend_stores(uri, uri, str(folder / "artifacts"))
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        handlers._tracking_store, handlers._model_registry_store = before


def test_a_canary_challenges_and_then_is_champion_or_nothing(mlflow_url: str) -> None:
    client = MlflowClient(tracking_uri=mlflow_url, registry_uri=mlflow_url)
    tell = Aliases(mlflow_url)
    life = [("1", None), ("1", "2"), ("2", None), ("2", "3"), ("2", None), (None, None)]
    for champion, challenger in life:
        for _ in range(2):
            assert tell.want("pump", champion, challenger)
        wanted = {"champion": champion, "challenger": challenger}
        known = client.get_registered_model("pump").aliases
        assert {alias: str(version) for alias, version in known.items()} == {
            alias: version for alias, version in wanted.items() if version
        }


def test_what_mlflow_does_not_know_and_an_mlflow_that_is_away_hinder_nobody(
    mlflow_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert not Aliases(mlflow_url).want("pump", "99", None)
    assert not Aliases(mlflow_url).want("nobody", None, None)
    assert not Aliases("http://127.0.0.1:9", httpx.Client(timeout=1)).want("pump", "1", None)
    assert [one.getMessage().split(":")[0] for one in caplog.records if "alias" in one.getMessage()] == [
        "MLflow's alias champion of pump is not set",
        "MLflow's alias champion of nobody is not set",
        "MLflow's alias champion of pump is not set",
    ]
