"""The newest objects of a folder or an fsspec URL, each with what tells its versions apart."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from homeostat.eventing.gateway.storage import landed
from homeostat.eventing.gateway.translated import Translated
from homeostat.models.storage import etag_of, modified_of

from . import files


@dataclass(frozen=True, slots=True)
class Object:
    """`state` changes whenever the object does. `etag` is None where the object has to be read for it, and
    empty where its store knows none. `fact` reads what is needed and gives None for an object that changes
    meanwhile."""

    uri: str
    modified: float
    state: str
    etag: str | None
    fact: Callable[[str], Translated | None]


def newest(uri: str, limit: int) -> list[Object]:
    """At most `limit` objects under `uri`, the newest first. Call it in a thread.

    An object store's listing is held whole while it is read; what is kept is bounded. Raises OSError and
    whatever the store's client raises.
    """
    root = files.root_of(uri)
    found = _remote(uri) if root is None else _local(root)
    return heapq.nlargest(limit, found, key=lambda one: one.modified)


def _local(root: Path) -> Iterator[Object]:
    for path, told in files.files(root):
        state = f"{told.st_ino}:{told.st_size}:{told.st_mtime_ns}"
        yield Object(str(path), told.st_mtime, state, None, partial(files.fact, path))


def _remote(uri: str) -> Iterator[Object]:
    from fsspec.core import url_to_fs

    system, path = url_to_fs(uri)
    system.invalidate_cache()
    scheme = uri.partition("://")[0]
    for name, told in system.find(path, detail=True).items():
        relative = PurePosixPath(name.removeprefix(path.rstrip("/")).lstrip("/"))
        if told.get("type") == "file" and told.get("size") and not files.temporary(relative):
            yield _object(f"{scheme}://{name.lstrip('/')}", told)


def _object(uri: str, told: Mapping[str, Any]) -> Object:
    """The stores' own names for etag, version and time: s3fs, gcsfs, adlfs and fsspec's others."""
    modified = modified_of(told)
    generation = str(told.get("generation") or "")
    etag = etag_of(told)
    version = str(told.get("VersionId") or "") or generation
    if not version and uri.startswith(("az://", "abfs://", "abfss://")):
        version = etag  # a new one with each write, see eventing/gateway/storage/azure.py
    size = int(told["size"])
    time = datetime.fromtimestamp(modified).astimezone().isoformat() if modified else ""
    fact = partial(_fact, uri, etag, size, generation.zfill(20) if generation else "", version, time)
    return Object(uri, modified, f"{version or etag}:{size}:{modified}", etag, fact)


def _fact(
    uri: str, etag: str, size: int, sequencer: str, version: str, time: str, subject: str
) -> Translated | None:
    return landed(uri, etag=etag, size=size, sequencer=sequencer, version=version, time=time, subject=subject)
