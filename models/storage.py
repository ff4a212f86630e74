"""The bytes of an object by its URI: local paths, file:// and whatever fsspec reaches, bounded and rooted."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

MAX_BYTES = 512 * 1024 * 1024
_LOCAL = ("", "file", "local")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: the field, what was found there, and how to mend it."""

    field: str
    value: str
    mend: str

    def __str__(self) -> str:
        return f"{self.field} is {self.value}: {self.mend}"


class DataError(Exception):
    """The object cannot be used as data. Carries every fault at once."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("; ".join(map(str, faults)))


@dataclass(frozen=True, slots=True)
class Told:
    """What a store says of an object: its bytes, None where it does not tell; what changes with each version
    of it, empty where there is nothing of the kind; and when it was written (Unix time, 0 if not told)."""

    size: int | None
    etag: str
    modified: float


def told(uri: str | Path, *, root: str | Path | None = None) -> Told:
    """What the object's store says of it now. Raises as `fetch` does."""
    place = _place(str(uri), root)
    if isinstance(place, Path):
        return Told(_size(place, str(uri)), "", place.stat().st_mtime)
    place[0].invalidate_cache()
    info = place[0].info(place[1])
    return Told(_size(place, str(uri)), etag_of(info), modified_of(info))


def etag_of(info: Mapping[str, Any]) -> str:
    """The etag in the stores' own words, as their notifications have it: s3fs, adlfs, and gcsfs, whose
    generation tells more."""
    return str(info.get("generation") or info.get("ETag") or info.get("etag") or "").strip('"')


def fetch(uri: str | Path, *, root: str | Path | None = None, max_bytes: int = MAX_BYTES) -> bytes:
    """All bytes of the object, whose size is looked at before it is opened.

    With a `root` (a folder, or an object itself) nothing outside of it is touched, links and `..` included.
    Raises DataError for what will never do, and OSError (FileNotFoundError first of all) for what may lie
    there later.
    """
    text = str(uri)
    place = _place(text, root)
    size = _size(place, text)
    if size is not None and size > max_bytes:
        raise DataError(_too_large(text, size, max_bytes))
    with place.open("rb") if isinstance(place, Path) else place[0].open(place[1], "rb") as file:
        content: bytes = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise DataError(_too_large(text, len(content), max_bytes))
    return content


def modified_of(info: Mapping[str, Any]) -> float:
    """Seconds since 1970, 0 where the store does not tell."""
    for name in ("LastModified", "last_modified", "mtime", "updated", "created"):
        value = info.get(name)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value.replace("Z", "+00:00"))
            except ValueError:
                continue
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, (int, float)):
            return float(value)
    return 0.0


_Place = Path | tuple[Any, str]
"""A local path, or an fsspec filesystem and the path in it."""


def _place(uri: str, root: str | Path | None) -> _Place:
    """Where the URI leads. Raises DataError if that is outside the root, or nowhere we can go."""
    place = _resolved(uri)
    if root is None:
        return place
    top = _resolved(str(root))
    if isinstance(place, Path) and isinstance(top, Path):
        inside = place == top or top in place.parents
    elif not isinstance(place, Path) and not isinstance(top, Path):
        folder = top[1].rstrip("/")
        inside = place[0] == top[0] and (place[1] == folder or place[1].startswith(f"{folder}/"))
    else:
        inside = False
    if not inside:
        mend = f"only objects under {root} are read; put it there, or correct the Detector's data.uri"
        raise DataError(Fault("uri", repr(uri), mend))
    return place


def _resolved(uri: str) -> _Place:
    if "::" in uri or "\0" in uri:
        raise DataError(Fault("uri", repr(uri), "name one object directly, without chained protocols"))
    parts = urlsplit(uri)
    scheme = parts.scheme if "://" in uri or parts.scheme == "file" else ""
    if scheme in _LOCAL:
        if scheme and parts.netloc not in ("", "localhost"):
            raise DataError(Fault("uri", repr(uri), "write a local file as file:///path, without a host"))
        # resolve() follows links, so that what is compared with the root is where the bytes really lie
        return Path(unquote(parts.path) if scheme else uri).resolve()
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(uri)
    except (ImportError, ValueError) as error:
        raise DataError(Fault("uri", repr(uri), f"{scheme}:// cannot be read here: {error}")) from None
    if ".." in unquote(path).split("/"):
        raise DataError(Fault("uri", repr(uri), "name the object without `..`"))
    return system, posixpath.normpath(path) if "://" not in path else path


def _size(place: _Place, uri: str) -> int | None:
    if isinstance(place, Path):
        size: int | None = place.stat().st_size
        usable = place.is_file()
    else:
        info = place[0].info(place[1])
        size, usable = info.get("size"), info.get("type") != "directory"
    if not usable:
        raise DataError(Fault("uri", f"{uri!r}, which is no file", "name one file with rows"))
    return size


def _too_large(uri: str, size: int, limit: int) -> Fault:
    mend = f"split the file or raise HOMEOSTAT_MAX_OBJECT_BYTES (now {shown_size(limit)})"
    return Fault("uri", f"{uri!r} with {shown_size(size)}", mend)


def shown_size(size: int) -> str:
    """Bytes as people read them.

    >>> shown_size(2 * 1024**3)
    '2.0 GiB'
    """
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"
