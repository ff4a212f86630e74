"""Fitted detectors on disk: a manifest and raw arrays, nothing that runs when it is loaded.

A folder holds `manifest.json` (what it is, where it comes from, the digest of every file) and
`weights.safetensors` (https://huggingface.co/docs/safetensors, a header and raw numbers). It is written
whole or not at all, and never changed: a model's URI stands for the same bytes for ever.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from .algorithm import algorithm
from .fitted import LONGEST, Fitted
from .preparation import Preparation

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
_LARGEST_MANIFEST = 1 << 20
_LARGEST_WEIGHTS = 1 << 30


class ArtifactError(Exception):
    """The folder holds no artifact that can be trusted; the message says which file, why, and the mend."""


class File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0, le=_LARGEST_WEIGHTS)


class Manifest(BaseModel):
    """What an artifact says of itself. `provenance` is whatever its maker recorded about the training."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["homeostat-detector"] = "homeostat-detector"
    format: Literal[2] = 2
    algorithm: str
    settings: dict[str, Any]
    channels: Annotated[list[str], Field(min_length=1)]
    window: int = Field(ge=1, le=10_000)
    preparation: dict[str, Any]
    threshold: FiniteFloat
    smoothing: int = Field(default=1, ge=1, le=LONGEST)
    min_duration: int = Field(default=1, ge=1, le=LONGEST)
    provenance: dict[str, Any]
    files: dict[str, File]


def save(fitted: Fitted, folder: Path | str, provenance: Mapping[str, Any]) -> str:
    """Writes the artifact and returns `sha256:…`, the digest of its manifest and so of all of it.

    Saving the same artifact again is no error; saving another one into its folder is (ArtifactError).
    """
    target = Path(folder)
    weights = _pack(fitted)
    text = _manifest_of(fitted, weights, provenance).model_dump_json(indent=2).encode()
    if target.is_dir() and any(target.iterdir()):
        if (target / MANIFEST).is_file() and (target / MANIFEST).read_bytes() == text:
            load(target)
            return digest(text)
        raise ArtifactError(
            f"{target} already holds something else: artifacts never change, take a new folder"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        fresh.chmod(0o755)
        for name, content in ((WEIGHTS, weights), (MANIFEST, text)):
            _write(fresh / name, content)
        _sync(fresh)
        fresh.rename(target)  # onto nothing, or onto an empty folder
        _sync(target.parent)
    except OSError as error:
        raise ArtifactError(f"{target} could not be written: {error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return digest(text)


def load(folder: Path | str) -> Fitted:
    """The detector, once every file has been found whole. Raises ArtifactError; never runs what it reads."""
    place = Path(folder)
    stated = manifest(place)
    arrays = _unpack(place, stated)
    parts: dict[str, dict[str, NDArray[Any]]] = {"algorithm": {}, "preparation": {}}
    for key, array in arrays.items():
        part, _, name = key.partition(".")
        if part in parts and name:
            parts[part][name] = array
    try:
        return Fitted(
            algorithm(stated.algorithm).restore(stated.settings, parts["algorithm"]),
            tuple(stated.channels),
            stated.window,
            Preparation.restore(stated.preparation, parts["preparation"]),
            stated.threshold,
            np.asarray(arrays["reference"], np.float32),
            stated.smoothing,
            stated.min_duration,
        )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        said = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ArtifactError(f"{place} holds no usable detector: {said}") from error


def manifest(folder: Path | str) -> Manifest:
    """The manifest alone, checked for form but not against the files."""
    path = Path(folder) / MANIFEST
    content = read_file(path, _LARGEST_MANIFEST)
    try:
        read = Manifest.model_validate(json.loads(content.decode(), parse_constant=_refuse))
    except (ValidationError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is no detector's manifest: {_faults(error)}") from error
    if set(read.files) != {WEIGHTS}:
        raise ArtifactError(f"{path} names the files {sorted(read.files)}: only {WEIGHTS} belongs there")
    return read


def digest(content: bytes) -> str:
    """`sha256:` and 64 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _pack(fitted: Fitted) -> bytes:
    from safetensors.numpy import save as to_bytes

    arrays = {f"algorithm.{key}": array for key, array in fitted.algorithm.arrays().items()}
    arrays |= {f"preparation.{key}": array for key, array in fitted.preparation.arrays().items()}
    arrays["reference"] = fitted.reference
    return to_bytes({key: np.ascontiguousarray(array) for key, array in arrays.items()})


def _manifest_of(fitted: Fitted, weights: bytes, provenance: Mapping[str, Any]) -> Manifest:
    try:
        plain = json.loads(json.dumps(dict(provenance), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"provenance is not JSON: {error}") from error
    return Manifest(
        algorithm=fitted.algorithm.name,
        settings=fitted.algorithm.settings(),
        channels=list(fitted.channels),
        window=fitted.window,
        preparation=fitted.preparation.settings(),
        threshold=fitted.threshold,
        smoothing=fitted.smoothing,
        min_duration=fitted.min_duration,
        provenance=plain,
        files={WEIGHTS: File(sha256=hashlib.sha256(weights).hexdigest(), size=len(weights))},
    )


def _unpack(place: Path, stated: Manifest) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    path = place / WEIGHTS
    content = read_file(path, stated.files[WEIGHTS].size)
    if len(content) != stated.files[WEIGHTS].size:
        raise ArtifactError(
            f"{path} is truncated: {len(content)} of {stated.files[WEIGHTS].size} bytes; fetch it again"
        )
    if hashlib.sha256(content).hexdigest() != stated.files[WEIGHTS].sha256:
        raise ArtifactError(f"{path} is corrupted: its digest is not the manifest's; fetch it again")
    try:
        return from_bytes(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ArtifactError(f"{path} is not in the safetensors format: {error}") from error


def read_file(path: Path, most: int) -> bytes:
    """A file of the artifact itself: never one that a link points to outside of it."""
    root = path.parent.resolve()
    if path.exists() and path.resolve().parent != root:
        raise ArtifactError(f"{path} is a link out of its folder: copy the file itself there")
    if path.exists() and not path.is_file():  # to open a pipe would wait for ever
        raise ArtifactError(f"{path} is no regular file: is {path.parent} a detector?")
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise ArtifactError(
            f"{path} cannot be read ({error.strerror}): is {path.parent} a detector?"
        ) from error
    if len(content) > most:
        raise ArtifactError(f"{path} is larger than the {most} bytes it may have")
    return content


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def _faults(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return str(error)
