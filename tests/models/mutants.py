"""Sound artifacts to be changed, and what it comes to when one that was changed is loaded."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings

from homeostat.models import ALGORITHMS, artifact
from homeostat.models.artifact import MANIFEST, WEIGHTS, ArtifactError
from homeostat.models.fitting import fit
from tests.models.every import parameters
from tests.models.watched import watched

ROWS = np.random.default_rng(0).normal([0, 50], [1, 10], size=(80, 2))
SOUND = (*ALGORITHMS, "pyod:KNN")
SECONDS = 5.0

Files = Mapping[str, bytes]


@cache
def sound(name: str) -> Files:
    """The files of a sound artifact, which has been loaded once, with all the modules that it needs."""
    smaller: dict[str, dict[str, Any]] = {"pyod:KNN": {"samples": 40}, "isolation-forest": {"trees": 5}}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        parts = parameters(name) | smaller.get(name, {})
        artifact.save(fit(name, ROWS, channels=("a", "b"), window=4, parameters=parts), folder, {"by": "us"})
        artifact.load(folder).score(ROWS)
        return {one: (folder / one).read_bytes() for one in (MANIFEST, WEIGHTS)}


def laid(place: Path, files: Files) -> Path:
    folder = place / "model"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def vouched(files: Files, weights: bytes) -> dict[str, bytes]:
    """Other weights under a manifest that states their size and digest."""
    stated = json.loads(files[MANIFEST])
    stated["files"] = {WEIGHTS: {"sha256": hashlib.sha256(weights).hexdigest(), "size": len(weights)}}
    return {MANIFEST: json.dumps(stated).encode(), WEIGHTS: weights}


def outcome(folder: Path) -> Any:
    """Scores, or the ArtifactError that names the folder. Nothing may run meanwhile, nor may it take long."""
    started = time.process_time()
    with watched() as seen, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            result: Any = artifact.load(folder).score(ROWS)
        except ArtifactError as error:
            result = error
    assert seen == []
    assert time.process_time() - started < SECONDS
    if isinstance(result, ArtifactError):
        assert str(folder) in str(result)
    else:
        assert result.shape == (len(ROWS),)
    return result


def many(examples: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
