"""Azure Blob Storage through Event Grid, in CloudEvents' schema or in its own (always an array).

https://learn.microsoft.com/azure/event-grid/event-schema-blob-storage
https://learn.microsoft.com/azure/event-grid/cloud-event-schema
https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from ...errors import Fault, Reject, shown
from ..translated import Translated
from .envelope import events, is_cloudevent
from .fields import Count, Faults, Payload, Tag, Text, json_value
from .landed import landed
from .uris import object_uri

_TYPE = re.compile(r"Microsoft\.(Storage|EventGrid)\.\w+")
_VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"
_SUBJECT = re.compile(r"/?blobServices/default/containers/([^/]+)/blobs/(.+)", re.S)
"""The page on CloudEvents leaves the first slash out."""
_UNFINISHED = ("CreateFile", "SftpCreate")
"""These announce an empty file that is still to be written; FlushWithClose and SftpCommit end it. A CopyBlob
may be announced early too: the announced size tells, when the object is looked at."""
_LANDS = ("Microsoft.Storage.BlobCreated", "Microsoft.Storage.BlobRenamed")
"""With a hierarchical namespace a file may be written elsewhere and renamed into place."""


class _Data(Payload):
    api: Text = ""
    eTag: Tag = ""
    contentLength: Count | None = None
    blobType: Text = ""
    sequencer: Tag = ""


class _CloudEvent(Payload):
    type: str
    subject: str = ""
    time: Text = ""
    data: Any = None


class _Classic(Payload):
    type: str = Field(alias="eventType")
    subject: str = ""
    time: Text = Field(default="", alias="eventTime")
    data: Any = None


def translate(headers: Mapping[str, str], body: bytes) -> list[Translated]:
    """One fact per blob that lies complete. Raises Reject with every fault.

    A subscription's validation is no fact either: answer it with `handshake`.
    """
    faults = Faults()
    received = _cloudevents(headers, body) if is_cloudevent(headers) else _classic(body)
    found = [
        fact
        for path, kind, document in received
        if (event := faults.read(kind, document, path)) and (fact := _landed(event, path, faults))
    ]
    faults.done()
    return found


def handshake(document: Any) -> dict[str, str] | None:
    """The answer to Event Grid's validation of a classic subscription, None when `document` is none. Its
    `validationUrl` is never opened."""
    first = document[0] if isinstance(document, list) and len(document) == 1 else None
    if not isinstance(first, dict) or first.get("eventType") != _VALIDATION:
        return None
    data = first.get("data")
    code = data.get("validationCode") if isinstance(data, dict) else None
    if not isinstance(code, str) or not re.fullmatch(r"[\w.-]{1,256}", code):
        raise Reject(Fault("[0].data.validationCode", shown(code), "send the code as text"))
    return {"validationResponse": code}


def _cloudevents(
    headers: Mapping[str, str], body: bytes
) -> Iterator[tuple[str, type[_CloudEvent | _Classic], Any]]:
    for event in events(headers, body):
        yield event.path, _CloudEvent, {**event.attributes, "data": event.data}


def _classic(body: bytes) -> Iterator[tuple[str, type[_CloudEvent | _Classic], Any]]:
    documents = json_value(body)
    if not isinstance(documents, list):
        mend = "Event Grid's own schema is an array; CloudEvents come as application/cloudevents+json"
        raise Reject(Fault("body", shown(documents), mend))
    for place, one in enumerate(documents):
        yield f"[{place}]", _Classic, one


def _landed(event: _CloudEvent | _Classic, path: str, faults: Faults) -> Translated | None:
    if not _TYPE.fullmatch(event.type):
        field = "type" if isinstance(event, _CloudEvent) else "eventType"
        mend = f"this door is for blobs: send {_LANDS[0]}"
        faults.add(f"{path}.{field}".lstrip("."), shown(event.type), mend)
    if event.type not in _LANDS:
        return None
    data = faults.read(_Data, event.data, f"{path}.data".lstrip("."))
    where = _SUBJECT.fullmatch(event.subject)
    if not where:
        mend = "a blob's subject is /blobServices/default/containers/<container>/blobs/<path>"
        faults.add(f"{path}.subject".lstrip("."), shown(event.subject), mend)
    if data is None or not where or data.api in _UNFINISHED or data.blobType == "AppendBlob":
        return None  # an append blob is announced once, when it is empty
    field = f"{path}.subject".lstrip(".")
    uri = object_uri("az", where[1], where[2], faults, field, field)
    etag = data.eTag.strip('"')
    return landed(
        uri,
        etag=etag,
        size=data.contentLength,
        sequencer=data.sequencer,
        version=etag,  # Azure makes a new one with each write
        time=event.time,
    )
