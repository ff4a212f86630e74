"""Google Cloud Storage, through Eventarc and through Pub/Sub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from homeostat.eventing.errors import Reject
from homeostat.eventing.gateway.storage import STORAGE
from homeostat.eventing.gateway.translated import Translated
from homeostat.eventing.messages import DataLanded

from . import samples
from .samples import changed

LANDED = DataLanded(
    uri="gs://sample-bucket/folder/Test.cs",
    etag="1587627537231057",
    size=352,
    sequencer="00001587627537231057",
)


def eventarc(document: Any, headers: dict[str, str] | None = None) -> list[Translated]:
    return STORAGE["gcs"](samples.gcs_headers() | (headers or {}), orjson.dumps(document))


def pushed(document: Any) -> list[Translated]:
    return STORAGE["pubsub"]({"content-type": "application/json"}, orjson.dumps(document))


def fields(refused: pytest.ExceptionInfo[Reject]) -> list[str]:
    return [fault.field for fault in refused.value.faults]


def test_the_shared_binary_event_lands(shared: Path) -> None:
    body = (shared / "vectors" / "storage" / "gcs-binary.json").read_bytes()
    (fact,) = STORAGE["gcs"](samples.gcs_headers(), body)
    assert fact.message == LANDED
    assert (fact.source, fact.time) == ("gs://sample-bucket", "2020-04-23T07:38:57.230Z")


def test_the_shared_structured_event_lands_although_its_numbers_are_numbers(shared: Path) -> None:
    body = (shared / "vectors" / "storage" / "gcs-structured.json").read_bytes()
    (fact,) = STORAGE["gcs"](samples.STRUCTURED, body)
    assert fact.message == DataLanded(
        uri="gs://sample-bucket/MyFile", etag="96883251", size=0, sequencer="00000000000096883251"
    )


def test_pubsub_with_and_without_payload_is_the_same_event_as_eventarc() -> None:
    (direct,) = eventarc(samples.gcs())
    (full,) = pushed(samples.pubsub(samples.gcs()))
    (bare,) = pushed(samples.pubsub())
    assert full == direct
    assert (bare.id, bare.source) == (direct.id, direct.source)
    assert bare.message == DataLanded(uri=LANDED.uri, etag=LANDED.etag, sequencer=LANDED.sequencer)


def test_each_generation_is_its_own_event_and_later_ones_compare_greater() -> None:
    (first,) = eventarc(samples.gcs())
    (second,) = eventarc(changed(samples.gcs(), "generation", 11587627537231058))
    assert first.id != second.id
    assert isinstance(first.message, DataLanded)
    assert isinstance(second.message, DataLanded)
    assert first.message.sequencer < second.message.sequencer


def test_other_types_land_nothing() -> None:
    for kind in ("archived", "deleted", "metadataUpdated"):
        assert eventarc(samples.gcs(), {"ce-type": f"google.cloud.storage.object.v1.{kind}"}) == []
    for kind in ("OBJECT_DELETE", "OBJECT_ARCHIVE", "OBJECT_METADATA_UPDATE"):
        assert pushed(samples.pubsub(eventType=kind)) == []
    assert eventarc(changed(samples.gcs(), "name", "folder/")) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("bucket", ...),
        ("bucket", "b/.."),
        ("name", ...),
        ("name", "/etc/passwd"),
        ("name", "a/../b"),
        ("generation", ...),
        ("generation", "one"),
        ("generation", -4),
        ("size", "1e3"),
        ("size", {}),
    ],
)
def test_a_wrong_field_is_named(path: str, value: Any) -> None:
    with pytest.raises(Reject) as refused:
        eventarc(changed(samples.gcs(), path, value))
    assert fields(refused) == [f"data.{path}"]


def test_a_foreign_event_and_one_without_attributes_are_sent_to_the_right_door() -> None:
    with pytest.raises(Reject, match=r"send google\.cloud\.storage\.object\.v1\.finalized"):
        eventarc(samples.gcs(), {"ce-type": "google.cloud.audit.log.v1.written"})
    with pytest.raises(Reject, match="/storage/pubsub"):
        STORAGE["gcs"]({"content-type": "application/json"}, orjson.dumps(samples.pubsub()))


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("message", ..., "message"),
        ("message", [], "message"),
        ("message.attributes", ..., "message.attributes"),
        ("message.attributes.eventType", ..., "message.attributes.eventType"),
        ("message.attributes.payloadFormat", "JSON_API_V2", "message.attributes.payloadFormat"),
        ("message.attributes.bucketId", ..., "message.attributes.bucketId"),
        ("message.attributes.objectId", "a/../b", "message.attributes.objectId"),
        ("message.attributes.objectId", "other", "message.data.name"),
        ("message.attributes.objectGeneration", "x", "message.attributes.objectGeneration"),
        ("message.attributes.objectGeneration", "7", "message.data.generation"),
        ("message.data", "no base64!", "message.data"),
        ("message.data", "e30", "message.data"),
        ("message.data", ..., "message.data"),
        ("message.data", "e30=", "message.data.bucket"),
    ],
)
def test_a_wrong_push_is_named(path: str, value: Any, named: str) -> None:
    with pytest.raises(Reject) as refused:
        pushed(changed(samples.pubsub(samples.gcs()), path, value))
    assert fields(refused)[0] == named
