"""A calibration, in memory and on disk: JSON and raw arrays, nothing that runs when it is loaded.

The two files may lie in an artifact's own folder, or in one beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from .artifact import ArtifactError, File, read_file
from .choices import DriftStream, ScalerKind
from .drift_part import Part
from .drift_words import Settings
from .features import Scaler

DOCUMENT = "drift.json"
ARRAYS = "drift.safetensors"
_LARGEST_DOCUMENT = 1 << 20
_LARGEST_ARRAYS = 1 << 28
_SETTLED = "settled."


class _PartDocument(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    test: Literal["mmd", "ks", "cvm", "lsdd", "chi2", "fisher", "mmd-online", "lsdd-online", "cvm-online"]
    scaler: ScalerKind
    season: FiniteFloat = Field(ge=0)
    why: str
    limits: tuple[FiniteFloat, ...] = Field(min_length=1)


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["homeostat-drift"] = "homeostat-drift"
    format: Literal[1] = 1
    settings: Settings
    channels: tuple[str, ...] = Field(min_length=1)
    parts: dict[DriftStream, _PartDocument]
    file: File


@dataclass(frozen=True, eq=False)
class Calibration:
    """`parts` has a reference for each of `settings.on`; none for errors where training knew of none."""

    settings: Settings
    channels: tuple[str, ...]
    parts: Mapping[DriftStream, Part]

    def save(self, folder: Path | str) -> None:
        """Writes `drift.json` and `drift.safetensors`; the same calibration gives the same bytes."""
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        document, arrays = self.pack()
        (place / ARRAYS).write_bytes(arrays)
        (place / DOCUMENT).write_bytes(document)

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Raises ArtifactError where there is none, or none that can be trusted; never runs what it reads."""
        return cls(*_read(Path(folder)))

    def pack(self) -> tuple[bytes, bytes]:
        """The document and the arrays."""
        return _packed(self)


def _read(place: Path) -> tuple[Settings, tuple[str, ...], dict[DriftStream, Part]]:
    try:
        text = read_file(place / DOCUMENT, _LARGEST_DOCUMENT)
        stated = _Document.model_validate_json(text)
    except (ValidationError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{place / DOCUMENT} is no calibration of drift: {error}") from error
    content = read_file(place / ARRAYS, min(stated.file.size, _LARGEST_ARRAYS))
    if hashlib.sha256(content).hexdigest() != stated.file.sha256:
        raise ArtifactError(f"{place / ARRAYS} is not what {DOCUMENT} names: fetch both again")
    try:
        from safetensors.numpy import load as from_bytes

        arrays = from_bytes(content)
        parts = {on: _part(on, one, arrays, len(stated.channels)) for on, one in stated.parts.items()}
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ArtifactError(f"{place} holds no usable calibration of drift: {error}") from error
    return stated.settings, stated.channels, parts


def _packed(calibration: Calibration) -> tuple[bytes, bytes]:
    from safetensors.numpy import save as to_bytes

    arrays: dict[str, NDArray[Any]] = {}
    for on, part in calibration.parts.items():
        arrays |= {f"{on}.{key}": np.ascontiguousarray(one) for key, one in _arrays(part).items()}
    content = to_bytes(arrays)
    stated = {
        "kind": "homeostat-drift",
        "format": 1,
        "settings": asdict(calibration.settings),
        "channels": calibration.channels,
        "parts": {
            on: {
                "test": part.test,
                "scaler": part.scale.kind,
                "season": part.season,
                "why": part.why,
                "limits": part.limits.tolist(),
            }
            for on, part in calibration.parts.items()
        },
        "file": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)},
    }
    return json.dumps(stated, indent=2, allow_nan=False).encode(), content


def _arrays(part: Part) -> dict[str, NDArray[Any]]:
    held: dict[str, NDArray[Any]] = {"rows": part.rows, **part.scale.arrays()}
    if part.times is not None:
        held["times"] = part.times
    return held | {_SETTLED + key: one for key, one in part.arrays.items()}


def _part(on: str, stated: _PartDocument, arrays: Mapping[str, NDArray[Any]], channels: int) -> Part:
    width = channels if on == "features" else 1
    own = {key.partition(".")[2]: one for key, one in arrays.items() if key.partition(".")[0] == on}
    rows, times = np.asarray(own["rows"], np.float32), own.get("times")
    if rows.ndim != 2 or rows.shape[1] != width or not len(rows) or not np.isfinite(rows).all():
        raise ValueError(f"the array {on}.rows has shape {rows.shape}: it must be finite (rows, {width})")
    if times is not None and (times.shape != (len(rows),) or not np.isfinite(times).all()):
        raise ValueError(f"the array {on}.times must be finite, one for each of {len(rows)} rows")
    scale = Scaler.restore(stated.scaler, own)
    if scale.center.shape != (width,):
        raise ValueError(f"the array {on}.center has shape {scale.center.shape}: it must be ({width},)")
    settled = {key.removeprefix(_SETTLED): one for key, one in own.items() if key.startswith(_SETTLED)}
    return Part(stated.test, scale, rows, times, stated.season, stated.why, np.array(stated.limits), settled)
