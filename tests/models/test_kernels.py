"""A kernel is kept on disk where that works, and compiled anew where it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import homeostat.models

HOME = Path(homeostat.models.__file__).parents[1]
ASK = """
import sys, numpy as np
sys.path += sys.argv[1:]
from {package}.forward import mean_log_ratio
out = np.empty(1)
mean_log_ratio()(np.ones((1, 2), np.float32), np.ones(2, np.float32), out)
print(round(float(out[0]), 4))
"""


def ask(cache: Path, package: str = "homeostat.models") -> str:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    root = [str(HOME)] if package == "models" else []  # else the other name could be imported here too
    command = [sys.executable, "-c", ASK.format(package=package), *root]
    done = subprocess.run(
        command, cwd=cache.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder


def test_a_kernel_is_kept_on_disk_and_used_again(cache: Path) -> None:
    assert ask(cache) == "0.6931"
    kept = {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb*")}
    assert kept
    assert ask(cache) == "0.6931"
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb*")} == kept


@pytest.mark.parametrize("left", [0, 100], ids=["empty", "cut short"])
def test_a_damaged_file_in_the_cache_does_not_keep_a_kernel_from_running(cache: Path, left: int) -> None:
    ask(cache)
    for path in cache.rglob("*.nbc"):
        path.write_bytes(path.read_bytes()[:left])
    assert ask(cache) == "0.6931"


def test_a_kernel_kept_under_another_name_of_the_package_does_not_keep_it_from_running(cache: Path) -> None:
    assert ask(cache, "models") == "0.6931"
    assert ask(cache) == "0.6931"
