"""Artifacts of the object store, read in a pod that serves none of them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from homeostat.models import artifact
from homeostat.models.fitted import Fitted
from homeostat.models.storage import fetch

LARGEST = 1 << 30
"""What an artifact's file may have at most; what it has is checked against its manifest."""


def stored_artifact(uri: str) -> Fitted:
    """The detector at the URI, kept in memory only. Raises ArtifactError for what cannot be trusted,
    ValueError for what cannot be had now."""
    with tempfile.TemporaryDirectory() as folder:
        for name in (artifact.MANIFEST, artifact.WEIGHTS):
            try:
                content = fetch(f"{uri.rstrip('/')}/{name}", max_bytes=LARGEST)
            except Exception as error:
                # Each store's client raises its own; whatever it is, the artifact is not here.
                raise ValueError(f"{uri} cannot be fetched: {error}") from error
            Path(folder, name).write_bytes(content)
        return artifact.load(folder)
