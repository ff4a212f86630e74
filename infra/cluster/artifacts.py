"""Artifacts of the object store, read in a pod that serves none of them."""

from __future__ import annotations

from homeostat.models import artifact, shelf

from ..observing.drift_model import Shipped, shipped


def stored_model(uri: str) -> Shipped:
    """The detector at the URI and the calibration beside it, kept in memory only. Raises ArtifactError for
    what cannot be trusted, ValueError for what cannot be had now."""
    try:
        with shelf.reading(uri) as folder:
            return shipped(folder)
    except (artifact.ArtifactError, ValueError):
        raise
    except Exception as error:
        # Each store's client raises its own; whatever it is, the artifact is not to be had now.
        raise ValueError(f"{uri} cannot be fetched: {error}") from error
