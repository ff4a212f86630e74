"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The default suite looks at half as many examples as hypothesis would; `make test-all` at all of them.
settings.register_profile("quick", max_examples=50)
settings.register_profile("thorough", max_examples=100)
settings.load_profile("thorough" if os.environ.get("HOMEOSTAT_TESTS") == "all" else "quick")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data, schemas and vectors that lies beside the checkout, never inside it."""
    folder = Path(os.environ.get("HOMEOSTAT_SHARED", ROOT.parent / "shared"))
    if folder.is_dir():
        return folder
    reason = f"no {folder}: put the shared data beside the checkout or set HOMEOSTAT_SHARED"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long stories first: at the end one would run alone, while the other process has nothing to do."""
    items.sort(key=lambda item: item.path.parent.name != "scenarios")
