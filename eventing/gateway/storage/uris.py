"""An object's address as fsspec reads it, made of a bucket and a key that only name things inside of it.

`s3://bucket/key`, `gs://bucket/name`, `az://container/path`: the key stands as it is, because fsspec does not
decode it. For Azure that is adlfs' short form; the account comes from the reader's own settings, since what
an event says of hosts is not to be trusted.
"""

from __future__ import annotations

import re

from ...errors import shown
from .fields import Faults

MAX_KEY = 1024
"""Bytes of UTF-8, the limit of S3, of Google Cloud Storage and (in characters) of Azure."""
_BUCKET = re.compile(r"\$?[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def object_uri(scheme: str, bucket: str, key: str, faults: Faults, bucket_field: str, key_field: str) -> str:
    """The address. Adds a fault for each way in which bucket or key could lead elsewhere."""
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        faults.add(bucket_field, shown(bucket), "name a bucket in letters, digits, dots, dashes, underscores")
    for wrong, mend in _wrongs(key):
        if wrong:
            faults.add(key_field, shown(key), mend)
    return f"{scheme}://{bucket}/{key}"


def _wrongs(key: str) -> tuple[tuple[bool, str], ...]:
    segments = key.split("/")
    return (
        (not key, "name the object"),
        (len(key.encode(errors="replace")) > MAX_KEY, f"a key has at most {MAX_KEY} bytes"),
        (key.startswith("/"), "a key is relative to its bucket: no slash in front"),
        ("." in segments or ".." in segments, "keys with `.` or `..` as a segment are not followed"),
        (bool(_CONTROL.search(key)), "keys with control characters are not read"),
        ("::" in key, "fsspec would take `::` for a chain of protocols: rename the object"),
        ("?versionId=" in key, "s3fs would take this for another object's version: rename the object"),
    )
