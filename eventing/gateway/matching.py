"""Which Detector an object belongs to: the one whose `spec.data.uri` is the longest prefix of its address."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

# Hadoop's and fsspec's other names for the same stores.
_SCHEMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "az", "abfss": "az"}


def normal(uri: str) -> str:
    """One spelling for one place: `s3a://` is `s3://`, `file:///x` is `/x`, no slash at the end.

    Keys of object stores are kept as they are; only in a folder do `..` and `//` mean something else.
    """
    scheme, colon, rest = uri.partition(":")
    scheme = scheme.lower()
    if colon and scheme == "file":
        return _path(_file(uri))
    if not colon or not rest.startswith("//"):
        return _path(uri)
    return f"{_SCHEMES.get(scheme, scheme)}:{rest.rstrip('/')}"


def _file(uri: str) -> str:
    try:
        return unquote(urlsplit(uri).path)
    except ValueError:
        return uri


def _path(text: str) -> str:
    # POSIX keeps two leading slashes apart; no file system here does.
    path = posixpath.normpath(text)
    return path[1:] if path.startswith("//") else path


class Matcher:
    """`uris` are the Detectors' `spec.data.uri` by name. Where two name the same place, the first name in
    the alphabet has it, always the same one."""

    def __init__(self, uris: Mapping[str, str]) -> None:
        self._places = {normal(uris[name]): name for name in sorted(uris, reverse=True)}
        self._longest = max(map(len, self._places), default=0)

    def __call__(self, uri: str) -> str | None:
        """The Detector that the object at `uri` belongs to. Prefixes end where a path segment ends."""
        place = normal(uri)
        if len(place) > self._longest:
            # What is longer than every known place cannot equal one, and addresses may be very long.
            place = _up(place, self._longest)
        while place:
            if found := self._places.get(place):
                return found
            if place == "/":
                return None
            place = _up(place, len(place) - 1)
        return None


def _up(place: str, limit: int) -> str:
    """The longest prefix of `place` of at most `limit` characters that ends before a slash."""
    cut = place.rfind("/", 0, limit + 1)
    return "/" if cut == 0 else place[: max(cut, 0)]
