"""MLflow knows which version serves and which is on trial, and serving never waits for it."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from mlflow import MlflowClient

from homeostat.infra.local.aliases import Aliases
from homeostat.models.aliases import aliases, set_aliases
from homeostat.models.registry import register_once
from tests.models.test_registry import REGISTRATION


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> str:
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"
    for number in (1, 2, 3):
        assert register_once(uri, replace(REGISTRATION, run=f"pump-{number}")) == str(number)
    return uri


def known(tracking: str) -> dict[str, str]:
    client = MlflowClient(tracking_uri=tracking, registry_uri=tracking)
    return {alias: str(version) for alias, version in client.get_registered_model("pump").aliases.items()}


def test_a_canary_challenges_and_then_is_champion_or_nothing(tracking: str) -> None:
    life = [("1", None), ("1", "2"), ("2", None), ("2", "3"), ("2", None), ("1", None), (None, None)]
    for champion, challenger in life:
        for _ in range(2):
            set_aliases(tracking, "pump", aliases(champion, challenger))
        wanted = {"champion": champion, "challenger": challenger}
        assert known(tracking) == {alias: version for alias, version in wanted.items() if version}


def test_only_the_newest_wish_counts_and_what_failed_is_tried_again(
    tracking: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        beside = Aliases(tracking)
        begun = time.monotonic()
        for champion in ("1", "2", "3"):
            beside.want("pump", champion, None)
        beside.want("pump", "2", "99")
        assert time.monotonic() - begun < 0.1
        with caplog.at_level(logging.WARNING):
            await beside.idle()
        assert "MLflow's aliases of pump are not set" in caplog.text
        assert "99" in caplog.text
        assert known(tracking)["champion"] == "2"
        beside.want("pump", "2", "3")
        await beside.idle()
        assert known(tracking) == {"champion": "2", "challenger": "3"}
        begun = time.monotonic()
        beside.want("pump", "2", "3")
        await beside.idle()
        assert time.monotonic() - begun < 0.1, "what is so already is not said again"
        beside.want("pump", "3", None)
        await beside.stop()

    asyncio.run(story())


def test_an_import_of_the_engine_loads_no_mlflow() -> None:
    code = "import sys; import homeostat.infra.local.aliases; print('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
