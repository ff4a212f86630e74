"""What must be right on a machine before the loop can run on it."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import psutil

from ..findings import Finding
from .settings import Settings

NEEDED = (
    "kserve",
    "kfp",
    "alibi-detect",
    "mlflow",
    "torch",
    "scikit-learn",
    "pandas",
    "numba",
    "cloudevents",
)
GIB = 1024**3


def examine(settings: Settings) -> list[Finding]:
    """Every finding, good and bad."""
    return [*_python(), *_packages(), *_room(settings), *_home(settings)]


def _python() -> Iterator[Finding]:
    found = sys.version.split()[0]
    yield Finding("python", sys.version_info[:2] == (3, 11), found, "install Python 3.11 and `make install`")
    safe = sqlite3.sqlite_version_info >= (3, 38)
    yield Finding("sqlite", safe, sqlite3.sqlite_version, "SQLite 3.38 or newer is needed (unixepoch)")


def _packages() -> Iterator[Finding]:
    for name in NEEDED:
        try:
            yield Finding(name, True, version(name), "")
        except PackageNotFoundError:
            yield Finding(name, False, "not installed", "pip install 'homeostat[work]'")


def _room(settings: Settings) -> Iterator[Finding]:
    free = psutil.virtual_memory().available / GIB
    yield Finding("memory", free >= 2, f"{free:.1f} GiB free", "2 GiB are needed: the drift host takes 0.6")
    place = next(one for one in (settings.state, *settings.state.resolve().parents) if one.exists())
    room = shutil.disk_usage(place).free / GIB
    yield Finding("disk", room >= 1, f"{room:.1f} GiB free at {place}", "1 GiB is needed for models and runs")


def _home(settings: Settings) -> Iterator[Finding]:
    from .home import StartError, claimed

    try:
        with claimed(settings):
            yield Finding("state and port", True, f"{settings.state} and {settings.port} are free", "")
    except StartError as error:
        found, _, mend = str(error).partition(": ")
        yield Finding("state and port", False, found, mend)
