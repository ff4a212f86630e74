"""What a function remembers outlives its pod, on the store that the cluster has for objects."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from homeostat.functions import FUNCTIONS
from homeostat.infra.cluster.host import finishing, function_host
from homeostat.infra.cluster.settings import read
from homeostat.infra.cluster.state import REMEMBERING, kept_state, state_file
from homeostat.infra.serve import function_app
from tests.cluster.api_server import ApiServer
from tests.cluster.callers import NAMESPACE
from tests.cluster.test_settings import ENOUGH

SETTINGS = read({**ENOUGH, "HOMEOSTAT_OBJECTS_URL": "memory://homeostat"})


@pytest.fixture
def store() -> Iterator[Any]:
    found = fsspec.filesystem("memory")
    yield found
    found.store.clear()


def test_each_function_that_remembers_has_copies_of_its_own(
    store: Any, server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = function_host("roll-out", SETTINGS, server.http(server.token(NAMESPACE, "roll-out")))

    async def live(function: str) -> None:
        app = function_app("roll-out", host, lifespan=finishing(host, kept_state(function, SETTINGS)))
        async with app.router.lifespan_context(app):
            state_file(function).parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(state_file(function))) as db:
                db.execute(f'CREATE TABLE "{function}" (x)')

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "pod"))
    for function in REMEMBERING:
        asyncio.run(live(function))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "next"))
    for function in REMEMBERING:
        kept = kept_state(function, SETTINGS)
        assert kept
        assert kept.restore()
        with contextlib.closing(sqlite3.connect(state_file(function))) as db:
            assert db.execute("SELECT name FROM sqlite_master").fetchall() == [(function,)]


@pytest.mark.parametrize("function", sorted({*FUNCTIONS} - {*REMEMBERING}))
def test_the_others_have_nothing_to_keep(function: str) -> None:
    assert kept_state(function, SETTINGS) is None
