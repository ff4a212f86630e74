"""The identity of a landed object: the same for each notification of the same content, on whatever path."""

from __future__ import annotations

import re
from uuid import NAMESPACE_URL, uuid5

from ...messages import DataLanded
from ..translated import Translated

LOCAL_SOURCE = "/homeostat/folder"
"""The source of what lands in a folder of this machine."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def landed(
    uri: str,
    *,
    etag: str,
    size: int | None,
    sequencer: str,
    version: str = "",
    time: str = "",
    subject: str | None = None,
) -> Translated:
    """One object as a fact.

    A `version` (S3's versionId, a generation, Azure's etag) names one write of the object, so it is all that
    the id needs, and a listing that knows no sequencer comes to the same id. An etag without version may be
    a digest of the content (S3): the same bytes written again later are new, and the sequencer says so, or
    the time where a store sends none.
    """
    write = ("version", version) if version else ("etag", etag, sequencer or time)
    return Translated(
        message=DataLanded(uri=uri, etag=etag, size=size, sequencer=sequencer),
        id=str(uuid5(NAMESPACE_URL, "\0".join((uri, *write)))),
        source=source(uri),
        subject=subject,
        # Some S3-like stores write times of their own; a time is not worth an object.
        time=time if _TIME.fullmatch(time) else None,
    )


def source(uri: str) -> str:
    """Where the object lies: its bucket, which every path of a notification knows, or a local folder."""
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme == "file":
        return LOCAL_SOURCE
    return f"{scheme}://{rest.partition('/')[0]}"
