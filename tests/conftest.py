"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
