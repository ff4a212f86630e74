"""Knative's IntegrationSource for S3, which sends the object itself: kept first, announced then.

https://knative.dev/docs/eventing/sources/integration-source/aws_s3. The attributes tell neither bucket nor
key (`ce-subject` is always `aws-s3-source`), so the content names the object, and a second reading of the
same object is the same event. Which Detector it is for, the source's manifest says (`ceOverrides`, extension
`detector`); without it the address that `store` gives decides, as for any other object.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping

from ... import wire
from ...errors import Fault, Reject, Retry, shown
from ..translated import Translated
from .landed import landed

TYPE = "dev.knative.eventing.aws-s3"
_DETECTOR = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


def stored(headers: Mapping[str, str], body: bytes, store: Callable[[str, bytes], str]) -> list[Translated]:
    """One fact, after `store(name, content)` has kept the object and returned its address.

    Raises Reject for what is no such event or no table, Retry when the object cannot be kept now.
    """
    event = wire.decode(headers.items(), body)
    content = event.data or b""
    suffix = _suffix(content)
    detector = event.attributes.get("detector")
    faults = []
    if event.attributes["type"] != TYPE:
        faults.append(Fault("type", shown(event.attributes["type"]), f"this door takes {TYPE}"))
    if detector is not None and not _DETECTOR.fullmatch(detector):
        faults.append(Fault("detector", shown(detector), "name a Detector in the source's ceOverrides"))
    if suffix is None:
        found = f"{len(content)} bytes, {shown(content[:16])}"
        faults.append(Fault("data", found, "send an object with rows: Parquet, CSV or JSON"))
    if faults or suffix is None:
        raise Reject(faults)
    digest = hashlib.sha256(content).hexdigest()
    try:
        uri = store(f"{digest}{suffix}", content)
    except OSError as error:
        raise Retry(f"the object cannot be kept now: {error}", after=5.0) from error
    return [
        landed(
            uri,
            etag=digest,
            size=len(content),
            sequencer="",
            version=digest,
            time=event.attributes.get("time", ""),
            subject=detector,
        )
    ]


def _suffix(content: bytes) -> str | None:
    """What the content is by its first bytes, None for what holds no rows."""
    if content.startswith(b"PAR1"):
        return ".parquet" if content.endswith(b"PAR1") and len(content) > 8 else None
    head = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not head or b"\0" in head:
        return None
    try:
        head.decode()
    except UnicodeDecodeError:
        return None
    return ".json" if head.startswith((b"{", b"[")) else ".csv"
