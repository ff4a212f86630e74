"""What drift detection needs of the training: made in the pipeline, shipped beside the model, never run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .drift_words import Settings
from .fitted import Fitted


@dataclass(frozen=True, eq=False)
class Calibration:
    settings: Settings
    channels: tuple[str, ...]
    rows: NDArray[np.float32]

    def save(self, folder: Path | str) -> None:
        """Writes `drift.json` and `drift.safetensors`, which may lie beside an artifact's own files."""
        from safetensors.numpy import save

        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        weights = save({"features.rows": np.ascontiguousarray(self.rows)})
        (place / "drift.safetensors").write_bytes(weights)
        document = {
            "settings": asdict(self.settings),
            "channels": self.channels,
            "sha256": hashlib.sha256(weights).hexdigest(),
        }
        (place / "drift.json").write_text(json.dumps(document))

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Raises ArtifactError where there is none, or none that can be trusted."""
        from safetensors.numpy import load

        from .artifact import ArtifactError

        try:
            stated = json.loads((Path(folder) / "drift.json").read_text())
            weights = (Path(folder) / "drift.safetensors").read_bytes()
        except OSError as error:
            raise ArtifactError(f"{folder} holds no calibration of drift: {error}") from error
        settings = Settings(**stated["settings"] | {"on": tuple(stated["settings"]["on"])})
        return cls(settings, tuple(stated["channels"]), load(weights)["features.rows"])


def calibrate(
    fitted: Fitted,
    rows: NDArray[Any],
    segments: NDArray[Any] | None = None,
    times: NDArray[Any] | None = None,
    *,
    settings: Settings,
    errors: NDArray[Any] | None = None,
) -> Calibration:
    """From (n, c) raw training rows that are normal, in order of time, and their (n,) segments; `times` (n,)
    in POSIX seconds, NaN or None where they are not known; `errors` (m,) 0 or 1, whether an answer on
    labelled rows was wrong, in order of time (without them, the first that arrive stand in). Where nothing
    but the artifact is there, `fitted.reference` does for rows.
    Raises ValueError for rows that are too few or not finite."""
    return Calibration(settings, fitted.channels, np.asarray(rows, np.float32))
