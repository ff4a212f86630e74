"""The compiled pipeline: fresh, uncached, and what design says it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from homeostat.pipelines.compile import COMPILED, render


@pytest.fixture(scope="module")
def compiled() -> dict[str, Any]:
    pipeline, *_ = yaml.safe_load_all(COMPILED.read_text())
    assert isinstance(pipeline, dict)
    return pipeline


def tasks(document: Any) -> dict[str, Any]:
    """Every task of every DAG in the pipeline, by name."""
    found: dict[str, Any] = {}
    for component in [document["root"], *document["components"].values()]:
        found |= component.get("dag", {}).get("tasks", {})
    return found


def test_the_compiled_file_is_fresh(tmp_path: Path) -> None:
    fresh = tmp_path / "training.yaml"
    render(fresh)
    assert fresh.read_text() == COMPILED.read_text(), "run `make compile`"


def test_no_step_is_ever_cached(compiled: dict[str, Any]) -> None:
    steps = {name: one for name, one in tasks(compiled).items() if one["componentRef"]["name"].count("-") < 9}
    cached = [
        name
        for name, one in steps.items()
        if one.get("cachingOptions") and not name.startswith(("for-loop", "exit-handler"))
    ]
    assert {"ingest", "fit", "register"} <= set(steps)
    assert cached == []


def test_the_steps_pass_artifacts_and_an_exit_handler_announces_failure(compiled: dict[str, Any]) -> None:
    named = tasks(compiled)
    assert named["fit"]["inputs"]["artifacts"]["training"]
    assert named["announce-failed"]["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"
    assert any(name.startswith("for-loop") for name in named)


def test_no_step_installs_anything_at_run_time(compiled: dict[str, Any]) -> None:
    assert "pip install" not in COMPILED.read_text()
