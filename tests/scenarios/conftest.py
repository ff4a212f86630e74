"""One home per scenario module, because starting one costs seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.homes import RunningHome


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHome]:
    """A healthy home with the Detector `pump` and no data yet."""
    running = RunningHome(tmp_path_factory.mktemp("home") / "state")
    running.start()
    try:
        running.wait_healthy()
        running.apply()
        yield running
    finally:
        running.kill()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Where a scenario writes what it lands."""
    return tmp_path
