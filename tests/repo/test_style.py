"""The tree passes the checks that `make lint` runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [Path(sys.executable).with_name(tool), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [("check", "."), ("format", "--check", ".")], ids=["lint", "format"])
def test_ruff_has_nothing_to_say(arguments: tuple[str, ...]) -> None:
    done = run("ruff", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_every_room_is_typed_strictly() -> None:
    done = run("mypy")
    assert done.returncode == 0, done.stdout + done.stderr
