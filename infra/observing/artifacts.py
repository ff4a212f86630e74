"""Artifacts by their URI, as folders of this machine."""

from __future__ import annotations

from pathlib import Path

from homeostat.models.shelf import local


def local_folder(uri: str) -> Path:
    """The folder that a URI names on this machine. ValueError says what is wrong with it."""
    folder = local(uri)
    if folder is None:
        raise ValueError(f"{uri} is not on this machine: give a path or a file:// URI")
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: was the artifact moved or deleted?")
    return folder.resolve()
