"""S3's own notifications as AWS, MinIO and Ceph's RGW send them, bare, in SNS or as CloudEvents.

AWS: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html (any 2.x: minor
versions only add fields). MinIO: docs/bucket/notifications in minio/minio; a wrapper around the same records.
Ceph: https://docs.ceph.com/en/latest/radosgw/notifications/. CloudEvents: cloudevents/adapters/aws-s3.md in
cloudevents/spec. SNS: https://docs.aws.amazon.com/sns/latest/dg/http-notification-json.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import unquote_plus

from pydantic import Field

from ...errors import Fault, Reject, shown
from ..translated import Translated
from .envelope import events, is_cloudevent
from .fields import Count, Faults, Payload, Tag, Text, json_object
from .landed import landed
from .sequencers import by_time, upper
from .uris import object_uri

_TYPE = re.compile(r"com\.amazonaws\.(s3\.)?\w+(:\w+)?")
"""CloudEvents' adapter writes com.amazonaws.s3.ObjectCreated:Put, Ceph leaves `s3.` out."""
_VERSION = re.compile(r"2\.\d{1,4}")
_CREATED = re.compile(r"(s3:)?(ObjectCreated:|ObjectSynced:Create$)\S*")
_NO_NEW_BYTES = re.compile(r"\S*:(PutRetention|PutLegalHold|PutTagging|DeleteTagging)")
"""MinIO counts these among ObjectCreated, although the object's content stays."""
_UNVERSIONED = ("", "null", "1")
"""How a bucket without versions says so; "1" is an older MinIO's."""
_NESTED = 2
_FOR_PEOPLE = {
    "SubscriptionConfirmation": "a person confirms it: open its SubscribeURL if the topic is yours",
    "UnsubscribeConfirmation": "nothing to do; to subscribe again a person opens its SubscribeURL",
}


class _Bucket(Payload):
    name: str


class _Object(Payload):
    key: str
    size: Count | None = None
    eTag: Tag = ""
    etag: Tag = ""
    """Ceph before Octopus."""
    versionId: Tag = ""
    sequencer: Tag = ""


class _S3(Payload):
    bucket: _Bucket
    object: _Object


class _Head(Payload):
    """What tells whether a record is any of our business; the rest of others is not looked at."""

    eventVersion: Annotated[str, Field(max_length=16)]
    eventSource: Annotated[str, Field(max_length=64)]
    eventName: Annotated[str, Field(max_length=128)]


class _Record(Payload):
    eventTime: Text = ""
    s3: _S3


def translate(headers: Mapping[str, str], body: bytes) -> list[Translated]:
    """One fact per object that was created. Raises Reject with every fault."""
    faults = Faults()
    found = [
        fact
        for path, document in _documents(headers, body, faults)
        for place, record in _records(document, path, faults)
        if (fact := _landed(record, place, faults))
    ]
    faults.done()
    return found


def _documents(
    headers: Mapping[str, str], body: bytes, faults: Faults
) -> Iterator[tuple[str, dict[str, Any]]]:
    if not is_cloudevent(headers):
        yield "", _unwrapped(json_object(body))
        return
    for event in events(headers, body):
        kind = event.attributes["type"]
        if not _TYPE.fullmatch(kind):
            mend = "send com.amazonaws.s3.ObjectCreated:Put and the like here"
            faults.add(f"{event.path}.type".lstrip("."), shown(kind), mend)
        elif not isinstance(event.data, dict):
            faults.add(f"{event.path}.data".lstrip("."), shown(event.data), "send one JSON object")
        else:
            yield f"{event.path}.data".lstrip("."), event.data


def _unwrapped(document: dict[str, Any], depth: int = _NESTED) -> dict[str, Any]:
    """What SNS carries. Its SubscribeURL is for people: whoever opened what a stranger sends would confirm
    the stranger's subscription."""
    kind = document.get("Type")
    if kind is None or "Records" in document:
        return document
    if kind != "Notification":
        mend = next((mend for name, mend in _FOR_PEOPLE.items() if name == kind), "send a Notification")
        raise Reject(Fault("Type", shown(kind), mend))
    message = document.get("Message")
    if not isinstance(message, str) or depth == 0:
        raise Reject(Fault("Message", shown(message), "send S3's notification as the text of Message"))
    return _unwrapped(json_object(message.encode(errors="replace"), "Message"), depth - 1)


def _records(document: dict[str, Any], path: str, faults: Faults) -> Iterator[tuple[str, Any]]:
    """S3's test event has no records; CloudEvents' adapter sends one record without a list around it."""
    prefix = f"{path}." if path else ""
    if document.get("Event") == "s3:TestEvent":
        return
    if "Records" not in document and "s3" in document:
        yield path, document
        return
    records = document.get("Records")
    if isinstance(records, list):
        yield from ((f"{prefix}Records[{place}]", record) for place, record in enumerate(records))
    else:
        found = "missing" if records is None else shown(records)
        faults.add(f"{prefix}Records", found, "send S3's list of records")


def _landed(record: Any, path: str, faults: Faults) -> Translated | None:
    head = faults.read(_Head, record, path)
    if head is None:
        return None
    if not _VERSION.fullmatch(head.eventVersion):
        mend = "2.x is understood here; a new major version changes the format and needs a newer Homeostat"
        faults.add(f"{path}.eventVersion".lstrip("."), shown(head.eventVersion), mend)
    if not head.eventSource.endswith(":s3"):
        mend = (
            "send S3's own records, such as aws:s3 makes; a queue's or a topic's wrapper is taken off before"
        )
        faults.add(f"{path}.eventSource".lstrip("."), shown(head.eventSource), mend)
    if not _CREATED.fullmatch(head.eventName) or _NO_NEW_BYTES.fullmatch(head.eventName):
        return None
    whole = faults.read(_Record, record, path)
    return _object(whole, head.eventSource, path, faults) if whole else None


def _object(record: _Record, source: str, path: str, faults: Faults) -> Translated | None:
    thing = record.s3.object
    ceph = source == "ceph:s3"
    where = f"{path}.s3".lstrip(".")
    try:
        # RGW writes the key as it is: in a file `a+b.csv` no plus stands for a space.
        key = thing.key if ceph else unquote_plus(thing.key, errors="strict")
    except UnicodeDecodeError:
        faults.add(f"{where}.object.key", shown(thing.key), "keys are URL-encoded UTF-8")
        return None
    uri = object_uri("s3", record.s3.bucket.name, key, faults, f"{where}.bucket.name", f"{where}.object.key")
    if key.endswith("/"):
        return None  # a folder, as consoles make it
    return landed(
        uri,
        etag=(thing.eTag or thing.etag).strip('"'),
        size=thing.size,
        sequencer=by_time(thing.sequencer) if ceph else upper(thing.sequencer),
        version="" if thing.versionId in _UNVERSIONED else thing.versionId,
        time=record.eventTime,
    )
