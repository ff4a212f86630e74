"""Google Cloud Storage through a Pub/Sub push subscription.

https://cloud.google.com/storage/docs/pubsub-notifications (attributes and payload) and
https://cloud.google.com/pubsub/docs/push (the envelope). With payloadFormat NONE the attributes are all.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from ...errors import Fault, Reject, shown
from ..translated import Translated
from .fields import Count, Faults, Payload, Text, json_object
from .gcs import Resource, finalized
from .uris import object_uri

_FINALIZE = "OBJECT_FINALIZE"


class _Message(Payload):
    attributes: dict[str, str]
    data: Annotated[str, Field(max_length=1 << 20)] | None = None


class _Push(Payload):
    message: _Message


class _Attributes(Payload):
    eventType: Text
    payloadFormat: Literal["NONE", "JSON_API_V1"]


class _Named(Payload):
    bucketId: str
    objectId: str
    objectGeneration: Count
    eventTime: Text = ""


def translate(headers: Mapping[str, str], body: bytes) -> list[Translated]:
    """One fact for an object that was finalized, none for other types. Raises Reject with every fault."""
    faults = Faults()
    document = json_object(body)
    push = faults.read(_Push, document, "")
    found = push and _landed(push.message, faults)
    faults.done()
    return [found] if found else []


def _landed(message: _Message, faults: Faults) -> Translated | None:
    path = "message.attributes"
    told = faults.read(_Attributes, message.attributes, path)
    if told is None or told.eventType != _FINALIZE:
        return None
    named = faults.read(_Named, message.attributes, path)
    if named is None:
        return None
    fields = f"{path}.bucketId", f"{path}.objectId"
    uri = object_uri("gs", named.bucketId, named.objectId, faults, *fields)
    if told.payloadFormat == "NONE":
        return finalized(uri, named.objectGeneration, None, named.eventTime)
    thing = faults.read(Resource, _payload(message.data), "message.data")
    if thing is None:
        return None
    told_twice = {
        "bucket": (thing.bucket, named.bucketId),
        "name": (thing.name, named.objectId),
        "generation": (thing.generation, named.objectGeneration),
    }
    for field, (one, other) in told_twice.items():
        if one != other:
            faults.add(f"message.data.{field}", shown(one), f"the attributes say {shown(other)}")
    return finalized(uri, thing.generation, thing.size, thing.updated)


def _payload(data: str | None) -> dict[str, Any]:
    try:
        raw = base64.b64decode(data or "", validate=True)
    except (binascii.Error, ValueError):
        raise Reject(Fault("message.data", shown(data), "send base64 (RFC 4648)")) from None
    return json_object(raw, "message.data")
