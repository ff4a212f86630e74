"""Files in a Detector's folder: which of them are data, and what each is as a fact.

`homeostat land`, the watched folder and the periodic listing all name a file by `fact`, so that the same
file is the same event whoever sees it first.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit

from homeostat.eventing.gateway.storage import landed
from homeostat.eventing.gateway.translated import Translated

_UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", ".swp", ".swx", "~")


def root_of(uri: str) -> Path | None:
    """The local folder (or file) that a Detector's `data.uri` names, None for an object store."""
    if "://" not in uri and not uri.startswith("file:"):
        return Path(uri)
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def temporary(relative: PurePath) -> bool:
    """Whether the name says that the file is hidden or not finished, or lies in such a folder."""
    return any(part.startswith((".", "~")) for part in relative.parts) or relative.name.lower().endswith(
        _UNFINISHED
    )


def files(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """What lies under the root and may be data. Links that lead out of it are left out, as are empty files:
    they are still to be written."""
    if root.is_file():
        yield root, root.stat()
        return
    top = os.path.realpath(root)
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not temporary(PurePath(name))]
        for name in names:
            path = Path(folder, name)
            if not temporary(PurePath(name)) and (found := look(path, top)):
                yield path, found


def look(path: Path, top: str) -> os.stat_result | None:
    """The file's state, None when it is no file with content inside of the folder `top`."""
    try:
        if path.is_symlink() and not os.path.realpath(path).startswith(f"{top}{os.sep}"):
            return None
        found = path.stat()
    except OSError:
        return None  # gone again, or not for us to read
    return found if stat.S_ISREG(found.st_mode) and found.st_size else None


def fact(path: Path, subject: str | None) -> Translated | None:
    """The file as a fact, None when it changed meanwhile. Reads it whole: call it in a thread.

    Raises OSError. The sequencer is the time of the last change by the system's own clock: unlike the
    modification time it grows even when an older file takes the place of a newer one.
    """
    with path.open("rb") as file:
        before = os.fstat(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    after = path.stat()
    if (before.st_ino, before.st_size, before.st_mtime_ns) != (
        after.st_ino,
        after.st_size,
        after.st_mtime_ns,
    ):
        return None
    return landed(
        str(path),
        etag=digest,
        size=after.st_size,
        sequencer=f"{after.st_ctime_ns:020d}",
        time=datetime.fromtimestamp(after.st_mtime, UTC).isoformat().replace("+00:00", "Z"),
        subject=subject,
    )
