"""Artifacts by their URI, as folders of this machine."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit


def local_folder(uri: str) -> Path:
    """The folder that a URI names on this machine. ValueError says what is wrong with it."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        raise ValueError(f"{uri} is not on this machine: give a path or a file:// URI")
    folder = Path(unquote(parts.path) if parts.scheme else uri)
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: was the artifact moved or deleted?")
    return folder.resolve()
