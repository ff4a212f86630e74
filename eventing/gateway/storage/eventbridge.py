"""S3 through Amazon EventBridge, as it is or as the CloudEvent that its input transformer makes.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-api-destinations-cloudevents.html

Unlike in S3's own notifications the key is not URL-encoded, and its fields are `etag` and `version-id`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from ...errors import shown
from ..translated import Translated
from .envelope import events, is_cloudevent
from .fields import Count, Faults, Payload, Tag, Text, json_object
from .landed import landed
from .sequencers import upper
from .uris import object_uri

_CREATED = "Object Created"


class _Bucket(Payload):
    name: str


class _Object(Payload):
    key: str
    size: Count | None = None
    etag: Tag = ""
    version: Tag = Field(default="", alias="version-id")
    sequencer: Tag = ""


class _Detail(Payload):
    version: Literal["0"] = "0"
    bucket: _Bucket
    object: _Object


class _Event(Payload):
    version: Literal["0"] = "0"
    kind: Text = Field(alias="detail-type")
    source: Text
    time: Text = ""
    detail: Any


def translate(headers: Mapping[str, str], body: bytes) -> list[Translated]:
    """One fact for an object that was created, none for other types. Raises Reject with every fault."""
    faults = Faults()
    found = [
        fact
        for path, detail_path, document in _documents(headers, body)
        if (fact := _landed(document, path, detail_path, faults))
    ]
    faults.done()
    return found


def _documents(headers: Mapping[str, str], body: bytes) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """EventBridge's shape, whatever came: the path of its fields, the path of its detail, the document."""
    if not is_cloudevent(headers):
        yield "", "detail", json_object(body)
        return
    for event in events(headers, body):
        told = event.attributes
        document = {"detail-type": told["type"], "source": told["source"], "time": told.get("time")}
        yield event.path, f"{event.path}.data".lstrip("."), document | {"detail": event.data}


def _landed(document: dict[str, Any], path: str, detail_path: str, faults: Faults) -> Translated | None:
    event = faults.read(_Event, document, path)
    if event is None:
        return None
    if event.source != "aws.s3":
        mend = "this door is for S3's events: set the rule's pattern to source aws.s3"
        faults.add(f"{path}.source".lstrip("."), shown(event.source), mend)
        return None
    if event.kind != _CREATED:
        return None
    detail = faults.read(_Detail, event.detail, detail_path)
    if detail is None:
        return None
    thing = detail.object
    fields = f"{detail_path}.bucket.name", f"{detail_path}.object.key"
    uri = object_uri("s3", detail.bucket.name, thing.key, faults, *fields)
    if thing.key.endswith("/"):
        return None  # a folder, as consoles make it
    return landed(
        uri,
        etag=thing.etag.strip('"'),
        size=thing.size,
        sequencer=upper(thing.sequencer),
        version="" if thing.version == "null" else thing.version,
        time=event.time,
    )
