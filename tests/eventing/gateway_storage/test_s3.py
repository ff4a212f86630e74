"""S3's notifications: AWS, MinIO, Ceph, SNS and the CloudEvents forms, and their wrong twins."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.errors import Reject
from homeostat.eventing.gateway.storage import STORAGE
from homeostat.eventing.gateway.translated import Translated
from homeostat.eventing.messages import DataLanded

from . import samples
from .samples import changed

KEY = "Records[0].s3.object.key"


def read(document: Any, headers: dict[str, str] | None = None) -> list[Translated]:
    return STORAGE["s3"](headers or {"content-type": "application/json"}, orjson.dumps(document))


def one(document: Any, headers: dict[str, str] | None = None) -> DataLanded:
    (fact,) = read(document, headers)
    assert isinstance(fact.message, DataLanded)
    return fact.message


def fields(document: Any, headers: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(Reject) as refused:
        read(document, headers)
    return [fault.field for fault in refused.value.faults]


# --- what the vendors document ---------------------------------------------------------------------------
def test_aws_documented_notification_lands() -> None:
    (fact,) = read(samples.s3())
    assert fact.message == DataLanded(
        uri="s3://amzn-s3-demo-bucket/b21b84d653bb07b05b1e6b33684dc11b",
        etag="b21b84d653bb07b05b1e6b33684dc11b",
        size=1305107,
        sequencer="0C0F6F405D6ED209E1",
    )
    assert (fact.source, fact.subject) == ("s3://amzn-s3-demo-bucket", None)
    assert fact.time == "2019-09-03T19:37:27.192Z"


def test_the_shared_vector_lands_with_its_key_decoded(shared: Path) -> None:
    vector = orjson.loads((shared / "vectors" / "storage" / "s3-event.json").read_bytes())
    assert one(vector).uri == "s3://sourcebucket/Happy Face.jpg"
    assert one(vector).sequencer == "Happy Sequencer"


def test_minio_encodes_slashes_and_has_no_versions_under_version_1() -> None:
    assert one(samples.minio()).uri == "s3://images/test12/DG0890EY2.jpg"
    again = changed(samples.minio(), "Records[0].s3.object.sequencer", "15612487A9DF732D")
    assert read(again)[0].id != read(samples.minio())[0].id


def test_ceph_writes_sizes_as_text_and_its_clock_as_sequencer() -> None:
    landed = one(samples.ceph())
    assert (landed.uri, landed.size) == ("s3://mybucket1/myimage1.jpg", 1024)
    assert landed.sequencer == "5DD7E6F708D142C7"
    assert int(landed.sequencer[:8], 16) == 1574430455  # eventTime, to the second


def test_ceph_later_writes_have_greater_sequencers() -> None:
    # Two moments a minute apart, as RGW writes them: their texts compare the wrong way round.
    early, late = ((1574430455 + step).to_bytes(4, "little").hex().upper() + "00000001" for step in (0, 60))
    assert late < early
    where = "Records[0].s3.object.sequencer"
    first, second = (one(changed(samples.ceph(), where, told)).sequencer for told in (early, late))
    assert first < second


def test_ceph_keys_are_taken_as_they_stand() -> None:
    assert one(changed(samples.ceph(), KEY, "a+b 100%25.csv")).uri == "s3://mybucket1/a+b 100%25.csv"


def test_a_removal_an_acl_and_a_test_event_land_nothing() -> None:
    for name in ("ObjectRemoved:Delete", "s3:ObjectRemoved:DeleteMarkerCreated", "ObjectAcl:Put"):
        assert read(changed(samples.s3(), "Records[0].eventName", name)) == []
    for name in ("s3:ObjectCreated:PutRetention", "s3:ObjectCreated:PutTagging"):
        assert read(changed(samples.minio(), "Records[0].eventName", name)) == []
    assert read(samples.S3_TEST) == []


@pytest.mark.parametrize("name", ["Put", "Post", "Copy", "CompleteMultipartUpload"])
@pytest.mark.parametrize("prefix", ["", "s3:"])
def test_each_way_of_creating_an_object_lands(prefix: str, name: str) -> None:
    assert read(changed(samples.s3(), "Records[0].eventName", f"{prefix}ObjectCreated:{name}"))


def test_records_of_one_notification_land_in_their_order() -> None:
    both = {"Records": samples.s3()["Records"] + samples.minio()["Records"]}
    assert [fact.source for fact in read(both)] == ["s3://amzn-s3-demo-bucket", "s3://images"]


def test_a_folder_made_in_a_console_is_no_data() -> None:
    assert read(changed(samples.s3(), KEY, "incoming/")) == []


# --- envelopes -------------------------------------------------------------------------------------------
def test_ceph_cloudevent_is_the_same_event_as_its_bare_notification() -> None:
    assert read(samples.ceph(), samples.ceph_headers()) == read(samples.ceph())


def test_cloudevents_adapter_sends_one_record_without_a_list() -> None:
    # cloudevents/spec, cloudevents/adapters/aws-s3.md: data is the record.
    record = samples.s3()["Records"][0]
    answer = record["responseElements"]
    event = {
        "specversion": "1.0",
        "id": f"{answer['x-amz-request-id']}.{answer['x-amz-id-2']}",
        "source": "aws:s3.us-east-2.amzn-s3-demo-bucket",
        "type": "com.amazonaws.s3.ObjectCreated:Put",
        "subject": record["s3"]["object"]["key"],
        "time": record["eventTime"],
        "datacontenttype": "application/json",
        "data": record,
    }
    assert read(event, samples.STRUCTURED) == read(samples.s3())
    assert read([event, event], samples.BATCHED) == read(samples.s3()) * 2
    wrong = [event, changed(event, "data.s3.bucket.name", ...), changed(event, "type", "com.example.x")]
    assert fields(wrong, samples.BATCHED) == ["[1].data.s3.bucket.name", "[2].type"]


def test_a_raw_unicode_subject_of_ceph_does_not_lose_the_event() -> None:
    # The server hands the header's UTF-8 bytes on as latin-1, with control characters among them.
    headers = samples.ceph_headers() | {"ce-subject": "Āx.csv".encode().decode("latin-1")}
    assert one(changed(samples.ceph(), KEY, "Āx.csv"), headers).uri == "s3://mybucket1/Āx.csv"


def test_sns_carries_the_notification_as_text() -> None:
    wrapped = samples.sns(orjson.dumps(samples.s3()).decode())
    assert read(wrapped, {"content-type": "text/plain; charset=UTF-8"}) == read(samples.s3())
    assert read(samples.sns(orjson.dumps(samples.S3_TEST).decode())) == []


def test_an_sns_subscription_is_for_a_person_to_confirm() -> None:
    with pytest.raises(Reject, match=r"Type is 'SubscriptionConfirmation'.*a person .*SubscribeURL"):
        read(samples.sns("You have chosen to subscribe", "SubscriptionConfirmation"))
    assert fields(samples.sns("hello")) == ["Message"]
    endless = orjson.dumps(samples.s3()).decode()
    for _ in range(5):
        endless = orjson.dumps(samples.sns(endless)).decode()
    assert fields(orjson.loads(endless)) == ["Message"]


# --- identity --------------------------------------------------------------------------------------------
def test_a_redelivery_is_the_same_event() -> None:
    later = changed(samples.s3(), "Records[0].responseElements", {"x-amz-request-id": "another"})
    assert read(later)[0].id == read(samples.s3())[0].id


@pytest.mark.parametrize("field", ["key", "eTag", "sequencer"])
def test_another_write_is_another_event(field: str) -> None:
    other = changed(samples.s3(), f"Records[0].s3.object.{field}", "00AA")
    assert read(other)[0].id != read(samples.s3())[0].id


def test_a_version_alone_names_a_write() -> None:
    # A listing knows the version and no sequencer, and has to come to the same id.
    versioned = changed(samples.s3(), "Records[0].s3.object.versionId", "096fKKXTRTtl3on89fVO.nfljtsv6qko")
    bare = changed(versioned, "Records[0].s3.object.sequencer", ...)
    assert read(bare)[0].id == read(versioned)[0].id != read(samples.s3())[0].id
    suspended = changed(samples.s3(), "Records[0].s3.object.versionId", "null")
    assert read(suspended)[0].id == read(samples.s3())[0].id


def test_without_a_sequencer_the_time_tells_writes_of_the_same_bytes_apart() -> None:
    bare = changed(samples.s3(), "Records[0].s3.object.sequencer", ...)
    later = changed(bare, "Records[0].eventTime", "2019-09-03T19:37:28.000Z")
    assert read(bare)[0].id == read(bare)[0].id != read(later)[0].id


# --- wrong twins -----------------------------------------------------------------------------------------
def test_every_minor_version_is_read_and_no_other_major() -> None:
    for version in ("2.0", "2.6", "2.17"):
        assert read(changed(samples.s3(), "Records[0].eventVersion", version))
    for version in ("3.0", "1.0", "2", "2.", "12.1", ""):
        with pytest.raises(Reject, match=r"Records\[0\]\.eventVersion is .*2\.x is understood"):
            read(changed(samples.s3(), "Records[0].eventVersion", version))


def test_every_fault_of_every_record_is_told_at_once() -> None:
    document: Any = {"Records": [samples.s3()["Records"][0] for _ in range(3)]}
    document = changed(document, "Records[0].s3.object.size", "many")
    document = changed(document, "Records[1].s3.bucket.name", ...)
    document = changed(document, "Records[2].s3.object.key", "../../etc/passwd")
    document = changed(document, "Records[2].s3.bucket.name", "a/b")
    assert fields(document) == [
        "Records[0].s3.object.size",
        "Records[1].s3.bucket.name",
        "Records[2].s3.bucket.name",
        "Records[2].s3.object.key",
    ]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("Records", ...),
        ("Records", {}),
        ("Records[0]", "record"),
        ("Records[0].eventName", ...),
        ("Records[0].eventName", 7),
        ("Records[0].eventSource", "aws:sqs"),
        ("Records[0].eventTime", 7),
        ("Records[0].s3", ...),
        ("Records[0].s3", []),
        ("Records[0].s3.bucket.name", ""),
        ("Records[0].s3.bucket.name", ".."),
        ("Records[0].s3.bucket.name", "a b"),
        ("Records[0].s3.bucket.name", "b" * 300),
        (KEY, ...),
        (KEY, None),
        (KEY, ""),
        (KEY, "k" * 1025),
        (KEY, "%FF%FE"),
        ("Records[0].s3.object.size", -1),
        ("Records[0].s3.object.size", 1.5),
        ("Records[0].s3.object.size", True),
        ("Records[0].s3.object.size", 1 << 63),
        ("Records[0].s3.object.size", "9" * 5000),
        ("Records[0].s3.object.eTag", "é"),
        ("Records[0].s3.object.sequencer", "0" * 300),
        ("Records[0].s3.object.sequencer", 12),
    ],
)
def test_a_wrong_field_is_named(path: str, value: Any) -> None:
    assert fields(changed(samples.s3(), path, value)) == [path]


@pytest.mark.parametrize(
    "key",
    [
        "/etc/passwd",
        "../up",
        "a/../b",
        "a/./b",
        "a/..",
        "a\0b",
        "a\nb",
        "zip::x",
        "a?versionId=b",
        "a\u2028b",
    ],
)
def test_a_key_that_could_lead_elsewhere_is_refused(key: str) -> None:
    for document, told in (
        (samples.s3(), quote_plus(key)),
        (samples.minio(), quote(key)),
        (samples.ceph(), key),
    ):
        assert fields(changed(document, KEY, told)) == [KEY]


def test_what_is_cut_off_or_no_json_says_so() -> None:
    whole = orjson.dumps(samples.s3())
    for body in (whole[: len(whole) // 2], b"", b"Records", b"\xff\xfe", b"[" * 100_000):
        with pytest.raises(Reject, match=r"body is .*JSON"):
            STORAGE["s3"]({}, body)
    assert fields([samples.s3()]) == ["body"]


def test_a_huge_notification_of_faults_has_a_short_answer() -> None:
    with pytest.raises(Reject) as refused:
        read({"Records": [{}] * 50_000})
    assert len(refused.value.faults) == 101
    assert refused.value.faults[-1].value == "149900 more faults"


# --- properties ------------------------------------------------------------------------------------------
def _harmless(key: str) -> bool:
    steps = key.split("/")
    return (
        not key.startswith("/")
        and not key.endswith("/")
        and "." not in steps
        and ".." not in steps
        and "::" not in key
        and "?versionId=" not in key
    )


keys = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u2028\u2029"),
    min_size=1,
    max_size=200,
).filter(_harmless)


@given(keys)
def test_however_a_store_quotes_a_key_it_comes_back(key: str) -> None:
    for quoted in (quote_plus(key), quote(key), quote_plus(key, safe="/")):
        assert one(changed(samples.s3(), KEY, quoted)).uri == f"s3://amzn-s3-demo-bucket/{key}"
    assert one(changed(samples.ceph(), KEY, key)).uri == f"s3://mybucket1/{key}"
