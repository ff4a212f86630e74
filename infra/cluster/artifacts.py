"""Artifacts of the object store, read in a pod that serves none of them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from homeostat.models import artifact, drift_files
from homeostat.models.storage import fetch

from ..observing.drift_model import Shipped, shipped

LARGEST = 1 << 30
"""What an artifact's file may have at most; what it has is checked against its manifest."""


def stored_model(uri: str) -> Shipped:
    """The detector at the URI and the calibration beside it, kept in memory only. Raises ArtifactError for
    what cannot be trusted, ValueError for what cannot be had now."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in (artifact.MANIFEST, artifact.WEIGHTS):
            if (content := _content(uri, name)) is None:
                raise ValueError(f"{uri} cannot be fetched: it has no {name}")
            (folder / name).write_bytes(content)
        for name in (drift_files.DOCUMENT, drift_files.ARRAYS):
            # Older artifacts have none.
            if (content := _content(uri, name)) is not None:
                (folder / name).write_bytes(content)
        return shipped(folder)


def _content(uri: str, name: str) -> bytes | None:
    try:
        return fetch(f"{uri.rstrip('/')}/{name}", max_bytes=LARGEST)
    except FileNotFoundError:
        return None
    except Exception as error:
        # Each store's client raises its own; whatever it is, the artifact is not to be had now.
        raise ValueError(f"{uri} cannot be fetched: {error}") from error
