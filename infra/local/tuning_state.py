"""What a search must not forget: the Experiment with its status, and one record per trial.

    <folder>/experiment.json             the object, as an API server would show it
    <folder>/trials/<trial>/trial.json   its parameters, and how it ended
    <folder>/study.log                   Optuna's own memory

A file is replaced whole or not at all, and is on disk when the call returns (unless it need not be).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from .tuning_parameters import Value

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""Those of Kubernetes' generated names: no vowels, so no words."""


@dataclass
class Trial:
    """One trial. `number` is Optuna's, `slot` its place in a planned search; `params` are what the search
    knows, `assignments` the same as a trial is given them. `condition` is Katib's; `early` is the mean of the
    objective's first values, which median stopping compares."""

    name: str
    number: int
    slot: int
    params: dict[str, Value]
    assignments: dict[str, str]
    condition: str = "Running"
    value: float | None = None
    metrics: list[dict[str, str]] = field(default_factory=list)
    early: float | None = None
    message: str = ""

    @property
    def finished(self) -> bool:
        return self.condition != "Running"


def trial_name(experiment: str, uid: str, number: int) -> str:
    """As Katib's: the Experiment's name and eight letters, here always the same ones for the same trial."""
    digest = hashlib.sha256(f"{uid}/{number}".encode()).digest()
    return f"{experiment}-{''.join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:8])}"


def save_trial(folder: Path, trial: Trial) -> None:
    place = folder / "trials" / trial.name
    place.mkdir(parents=True, exist_ok=True)
    replace(place / "trial.json", orjson.dumps(asdict(trial), option=orjson.OPT_INDENT_2))


def load_trials(folder: Path) -> list[Trial]:
    """All trials that were ever begun, in their order."""
    found = (orjson.loads(file.read_bytes()) for file in (folder / "trials").glob("*/trial.json"))
    return sorted((Trial(**one) for one in found), key=lambda one: one.number)


def save_object(folder: Path, document: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    replace(folder / "experiment.json", orjson.dumps(document, option=orjson.OPT_INDENT_2))


def load_object(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((folder / "experiment.json").read_bytes())
    return found


def replace(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write the file whole, then let it take its name."""
    draft = path.with_suffix(f"{path.suffix}.tmp")
    with draft.open("wb") as file:
        file.write(content)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    draft.replace(path)
    if not durable:
        return
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
