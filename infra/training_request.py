"""What a training run's process is told, and what it left behind when it ended: a folder of its own, for
whichever home started it (`training_run`)."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from homeostat.eventing.messages import StartTraining
from homeostat.functions.detector import Cause
from homeostat.functions.spec import Spec

LOG_TAIL = 1500


def requested(command: StartTraining, spec: Spec, cause: Cause) -> dict[str, Any]:
    """The run as JSON. Where to write and whom to tell is still missing: `models_root`, `tracking_uri`,
    `sink`."""
    return {
        "run": command.run,
        "detector": command.detector,
        "spec": spec.model_dump(mode="json"),
        "data": list(command.data),
        "candidates": list(command.candidates),
        "parameters": {name: dict(values) for name, values in command.parameters.items()},
        "champion": command.champion or "",
        "cause": cause.model_dump(mode="json"),
        "timeout": spec.retrain.timeout.total_seconds(),
    }


def prepare(folder: Path, request: Mapping[str, Any]) -> list[str]:
    """The folder with its request; the command that works on it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "request.json").write_bytes(orjson.dumps(request))
    return [sys.executable, "-m", "homeostat.infra.training_run", str(folder)]


def step(folder: Path) -> str:
    """The step that the run was at, as kfp.local says in its log."""
    found: list[str] = re.findall(r"Executing task .*?'([\w-]+)'", _log(folder))
    return found[-1] if found else ""


def last_words(folder: Path, code: int) -> str:
    """The error that the run left, else how it ended and the end of its log."""
    with contextlib.suppress(FileNotFoundError):
        return (folder / "error").read_text()
    return f"the training process ended with {code}: {_log(folder)[-LOG_TAIL:]}"


def too_long(seconds: float) -> str:
    return f"it took longer than {seconds:g} s (spec.retrain.timeout)"


def _log(folder: Path) -> str:
    log_file = folder / "log"
    return log_file.read_text(errors="replace") if log_file.exists() else ""
