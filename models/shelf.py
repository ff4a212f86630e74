"""Where artifacts lie: a folder of this machine, or a place in an object store (whatever fsspec reaches).

On one machine the steps of a run share its disk; a cluster's steps are pods that share nothing but the store.
An artifact is made and read in a folder either way. In a store its manifest comes last, so that one which was
not written whole is none, and what has a manifest is never written over.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .artifact import MANIFEST, WEIGHTS, ArtifactError
from .drift_files import ARRAYS, DOCUMENT

PARTS = (WEIGHTS, ARRAYS, DOCUMENT, MANIFEST)
"""The files of an artifact, in the order in which they are written; drift's two may be missing."""
LARGEST = 1 << 30
"""What a file may have at most."""


def local(uri: str) -> Path | None:
    """The path that a URI names on this machine; None for a place in an object store."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        return None
    return Path(unquote(parts.path) if parts.scheme else uri)


@contextmanager
def making(uri: str) -> Iterator[Path]:
    """A folder to make the artifact of this URI in; it lies there once the block has ended well.

    Raises ArtifactError where another artifact lies there already. The same one again is no error.
    """
    if (here := local(uri)) is not None:
        yield here
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "artifact"
        yield folder
        _publish(folder, uri)


@contextmanager
def adding(uri: str) -> Iterator[Path]:
    """A folder for files that lie beside an artifact's own once the block has ended well."""
    if (here := local(uri)) is not None:
        yield here
        return
    with tempfile.TemporaryDirectory() as place:
        yield Path(place)
        _upload(Path(place), *_store(uri))


@contextmanager
def reading(uri: str) -> Iterator[Path]:
    """The folder with the artifact of this URI, for the block. Raises FileNotFoundError where a store has
    none, and what its client raises while it cannot be reached."""
    if (here := local(uri)) is not None:
        yield here
        return
    with tempfile.TemporaryDirectory() as place:
        system, root = _store(uri)
        if not system.exists(f"{root}/{MANIFEST}"):
            raise FileNotFoundError(f"{uri} has no {MANIFEST}: was it moved, or never written whole?")
        for name in PARTS:
            if system.exists(f"{root}/{name}"):
                _fetch(system, f"{root}/{name}", Path(place) / name)
        yield Path(place)


def keep(content: bytes, uri: str) -> None:
    """Put a file at the URI, whole or not at all, over what lay there."""
    if (here := local(uri)) is None:
        system, path = _store(uri)
        system.pipe_file(path, content)
        return
    with tempfile.NamedTemporaryFile(dir=here.parent, prefix=f".{here.name}.", delete=False) as fresh:
        fresh.write(content)
    Path(fresh.name).chmod(0o644)
    Path(fresh.name).replace(here)


def _publish(folder: Path, uri: str) -> None:
    system, root = _store(uri)
    stated = (folder / MANIFEST).read_bytes()
    if system.exists(f"{root}/{MANIFEST}") and system.cat_file(f"{root}/{MANIFEST}") != stated:
        raise ArtifactError(f"{uri} already holds something else: artifacts never change, take a new place")
    _upload(folder, system, root)


def _upload(folder: Path, system: Any, root: str) -> None:
    for name in PARTS:
        if (folder / name).is_file():
            system.pipe_file(f"{root}/{name}", (folder / name).read_bytes())


def _fetch(system: Any, path: str, target: Path) -> None:
    if (size := system.size(path)) is None or size > LARGEST:
        raise ArtifactError(f"{path} has {size} bytes: an artifact's file has at most {LARGEST}")
    target.write_bytes(system.cat_file(path))


def _store(uri: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    if "::" in uri or ".." in unquote(uri).split("/"):
        raise ArtifactError(f"{uri} leads elsewhere: name one place, without `..` or chained protocols")
    system, path = url_to_fs(uri.rstrip("/"))
    # What others put there since the last listing counts.
    system.invalidate_cache()
    return system, path
