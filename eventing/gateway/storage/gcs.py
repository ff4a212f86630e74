"""Google Cloud Storage through Eventarc: CloudEvents with the object's resource as data.

https://cloud.google.com/eventarc/docs/cloudevents, googleapis/google-cloudevents (proto/google/events/cloud/
storage/v1/data.proto); samples in its testdata write numbers as text and as numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ...errors import Fault, Reject, shown
from ..translated import Translated
from .envelope import Enveloped, events, is_cloudevent
from .fields import Count, Faults, Payload, Text
from .landed import landed
from .uris import object_uri

_TYPE = re.compile(r"google\.cloud\.storage\.object\.v1\.\w+")
_FINALIZED = "google.cloud.storage.object.v1.finalized"


class Resource(Payload):
    """An object's resource, of which every write makes a new generation."""

    bucket: str
    name: str
    generation: Count
    size: Count | None = None
    updated: Text = ""


def translate(headers: Mapping[str, str], body: bytes) -> list[Translated]:
    """One fact for an object that was finalized, none for other types. Raises Reject with every fault."""
    if not is_cloudevent(headers):
        mend = "Eventarc sends CloudEvents; Pub/Sub's push goes to /storage/pubsub"
        raise Reject(Fault("ce-type", "missing", mend))
    faults = Faults()
    found = [fact for event in events(headers, body) if (fact := _landed(event, faults))]
    faults.done()
    return found


def _landed(event: Enveloped, faults: Faults) -> Translated | None:
    kind = event.attributes["type"]
    if not _TYPE.fullmatch(kind):
        mend = f"this door is for Cloud Storage: send {_FINALIZED}"
        faults.add(f"{event.path}.type".lstrip("."), shown(kind), mend)
    if kind != _FINALIZED:
        return None
    path = f"{event.path}.data".lstrip(".")
    thing = faults.read(Resource, event.data, path)
    if thing is None:
        return None
    uri = object_uri("gs", thing.bucket, thing.name, faults, f"{path}.bucket", f"{path}.name")
    return finalized(uri, thing.generation, thing.size, thing.updated)


def finalized(uri: str, generation: int, size: int | None, time: str) -> Translated | None:
    """One generation of an object, None for a folder's marker. The generation is the etag too: Pub/Sub
    without payload tells no other."""
    if uri.endswith("/"):
        return None
    version = str(generation)
    return landed(uri, etag=version, size=size, sequencer=version.zfill(20), version=version, time=time)
