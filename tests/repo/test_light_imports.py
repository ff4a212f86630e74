"""A function wakes in a moment, in little memory: decisions and contract load none of the heavy packages."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

import homeostat.eventing
import homeostat.functions

HEAVY = (
    "alibi_detect",
    "kfp",
    "kserve",
    "kubernetes",
    "mlflow",
    "numba",
    "numpy",
    "pandas",
    "sklearn",
    "torch",
)

PROBE = """
import importlib, json, sys
modules, heavy = json.loads(sys.argv[1])
guilty = {}
for name in modules:
    importlib.import_module(name)
    loaded = [one for one in heavy if one in sys.modules and one not in sum(guilty.values(), [])]
    if loaded:
        guilty[name] = loaded
print(json.dumps(guilty))
"""


def guilty(modules: list[str]) -> dict[str, list[str]]:
    """Which of the modules is the first to load which heavy package, in a fresh process."""
    command = [sys.executable, "-c", PROBE, json.dumps([modules, HEAVY])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_decisions_and_contract_load_nothing_heavy() -> None:
    modules = [
        found.name
        for room in (homeostat.functions, homeostat.eventing)
        for found in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")
    ]
    assert "homeostat.functions.plan_retraining" in modules
    assert "homeostat.eventing.broker.broker" in modules
    assert guilty(modules) == {}


def test_the_shell_that_serves_a_function_loads_nothing_heavy() -> None:
    assert guilty(["homeostat.infra.serve", "homeostat.infra.local.store", "homeostat.infra.cli"]) == {}


def test_a_heavy_import_would_be_found() -> None:
    assert "numpy" in guilty(["homeostat.models.metrics"])["homeostat.models.metrics"]
