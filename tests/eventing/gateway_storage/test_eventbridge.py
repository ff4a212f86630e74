"""S3 through EventBridge, plain and as a CloudEvent."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from homeostat.eventing.errors import Reject
from homeostat.eventing.gateway.storage import STORAGE
from homeostat.eventing.gateway.translated import Translated
from homeostat.eventing.messages import DataLanded

from . import samples
from .samples import changed


def read(document: Any, headers: dict[str, str] | None = None) -> list[Translated]:
    return STORAGE["eventbridge"](headers or {}, orjson.dumps(document))


def as_cloudevent() -> dict[str, Any]:
    """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-api-destinations-cloudevents.html."""
    event = samples.eventbridge()
    told = {name: event[name] for name in ("id", "source", "time", "region")}
    return told | {"specversion": "1.0", "type": event["detail-type"], "data": event["detail"]}


def test_aws_documented_event_lands() -> None:
    (fact,) = read(samples.eventbridge())
    assert fact.message == DataLanded(
        uri="s3://amzn-s3-demo-bucket1/example-key",
        etag="b1946ac92492d2347c6235b4d2611184",
        size=5,
        sequencer="617F08299329D189",
    )
    assert fact.time == "2021-11-12T00:00:00Z"


def test_keys_are_not_url_encoded_here() -> None:
    (fact,) = read(changed(samples.eventbridge(), "detail.object.key", "a+b%20c.csv"))
    assert fact.message == DataLanded(
        uri="s3://amzn-s3-demo-bucket1/a+b%20c.csv",
        etag="b1946ac92492d2347c6235b4d2611184",
        size=5,
        sequencer="617F08299329D189",
    )


def test_as_a_cloudevent_it_is_the_same_event() -> None:
    assert read(as_cloudevent(), samples.STRUCTURED) == read(samples.eventbridge())


@pytest.mark.parametrize("version", ["IYV3p45BT0ac8hjHg1houSdS1a.Mro8e", None])
def test_through_s3_itself_it_is_the_same_event(version: str | None) -> None:
    bridged = changed(samples.eventbridge(), "detail.object.version-id", version)
    thing = bridged["detail"]["object"]
    record = samples.s3()["Records"][0]
    record["s3"]["bucket"]["name"] = bridged["detail"]["bucket"]["name"]
    record["s3"]["object"] = {
        "key": thing["key"],
        "size": thing["size"],
        "eTag": thing["etag"],
        "versionId": version,
        "sequencer": f"00{thing['sequencer'].upper()}",
    }
    (direct,) = STORAGE["s3"]({}, orjson.dumps({"Records": [record]}))
    (other,) = read(bridged)
    assert (direct.id, direct.source, direct.message) == (other.id, other.source, other.message)


def test_other_types_land_nothing() -> None:
    for kind in ("Object Deleted", "Object Tags Added", "Object Storage Class Changed"):
        assert read(changed(samples.eventbridge(), "detail-type", kind)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", "1"),
        ("detail-type", ...),
        ("source", "aws.ec2"),
        ("source", 5),
        ("detail", ...),
        ("detail", "text"),
        ("detail.version", "1"),
        ("detail.bucket", ...),
        ("detail.bucket.name", "a:b"),
        ("detail.object.key", "a/../../b"),
        ("detail.object.size", "5 bytes"),
        ("detail.object.version-id", 7),
        ("detail.object.sequencer", ["x"]),
    ],
)
def test_a_wrong_field_is_named(path: str, value: Any) -> None:
    with pytest.raises(Reject) as refused:
        read(changed(samples.eventbridge(), path, value))
    assert [fault.field for fault in refused.value.faults] == [path]


def test_a_wrong_field_of_the_cloudevent_is_named_by_its_own_path() -> None:
    with pytest.raises(Reject, match=r"data\.object\.key is missing"):
        read(changed(as_cloudevent(), "data.object.key", ...), samples.STRUCTURED)
