"""Azure Blob Storage through Event Grid, in both schemas, and the validation of a subscription."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from homeostat.eventing.errors import Reject
from homeostat.eventing.gateway.storage import STORAGE, handshake
from homeostat.eventing.gateway.translated import Translated
from homeostat.eventing.messages import DataLanded

from . import samples
from .samples import changed


def read(document: Any, headers: dict[str, str] | None = None) -> list[Translated]:
    headers = samples.STRUCTURED if headers is None else headers
    return STORAGE["azure"](headers, orjson.dumps(document))


def test_the_documented_cloudevent_lands() -> None:
    (fact,) = read(samples.azure())
    assert fact.message == DataLanded(
        uri="az://test-container/new-file.txt",
        etag="0x8D4BCC2E4835CD0",
        size=524288,
        sequencer="00000000000004420000000000028963",
    )
    assert (fact.source, fact.time) == ("az://test-container", "2017-06-26T18:41:00.9584103Z")


def test_batched_and_classic_are_the_same_events() -> None:
    assert read([samples.azure()], samples.BATCHED) == read(samples.azure())
    assert read([samples.azure_classic()] * 2, {}) == read(samples.azure()) * 2


def test_a_subject_may_come_without_its_first_slash() -> None:
    # So does the sample of learn.microsoft.com/azure/event-grid/cloud-event-schema.
    assert read(changed(samples.azure(), "subject", samples.azure()["subject"][1:])) == read(samples.azure())


def test_a_path_below_the_container_keeps_its_folders() -> None:
    subject = "/blobServices/default/containers/plant/blobs/pump/blobs/2026/a b+c.parquet"
    (fact,) = read(changed(samples.azure(), "subject", subject))
    assert fact.message.uri == "az://plant/pump/blobs/2026/a b+c.parquet"  # type: ignore[union-attr]


def test_a_file_of_a_hierarchical_namespace_counts_when_it_is_closed() -> None:
    # "Example events" of event-schema-blob-storage: CreateFile has contentLength 0, FlushWithClose the size.
    created = changed(changed(samples.azure(), "data.api", "CreateFile"), "data.contentLength", 0)
    assert read(created) == []
    assert read(changed(samples.azure(), "data.api", "SftpCreate")) == []
    for api in ("FlushWithClose", "PutBlob", "PutBlockList", "CopyBlob", "SftpCommit"):
        assert read(changed(samples.azure(), "data.api", api))


def test_a_file_renamed_into_place_lands_there() -> None:
    renamed = changed(samples.azure(), "type", "Microsoft.Storage.BlobRenamed")
    renamed["data"] = {
        "api": "RenameFile",
        "destinationUrl": "https://my-storage-account.dfs.core.windows.net/test-container/new-file.txt",
        "sourceUrl": "https://my-storage-account.dfs.core.windows.net/test-container/_temporary/0",
        "sequencer": "00000000000004420000000000028964",
    }
    (fact,) = read(renamed)
    assert fact.message == DataLanded(
        uri="az://test-container/new-file.txt", sequencer="00000000000004420000000000028964"
    )


def test_an_append_blob_is_announced_empty_and_lands_nothing() -> None:
    assert read(changed(samples.azure(), "data.blobType", "AppendBlob")) == []


def test_other_types_land_nothing() -> None:
    for kind in ("BlobDeleted", "BlobTierChanged", "DirectoryCreated", "LifecyclePolicyCompleted"):
        assert read(changed(samples.azure(), "type", f"Microsoft.Storage.{kind}")) == []


def test_a_redelivery_is_the_same_event_and_another_etag_is_not() -> None:
    again = changed(samples.azure(), "id", "another-delivery")
    assert read(again)[0].id == read(samples.azure())[0].id
    assert read(changed(samples.azure(), "data.eTag", "0x8D4BCC2E4835CD1"))[0].id != read(again)[0].id


def test_a_subscription_is_validated_with_its_code_alone() -> None:
    document = samples.AZURE_VALIDATION
    assert handshake(document) == {"validationResponse": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}
    assert read(document, {}) == []
    assert handshake([samples.azure_classic()]) is None
    strange: list[Any] = [{}, [], "text", None, [[]], [{}], document * 2]
    for other in strange:
        assert handshake(other) is None
    for code in (..., 7, "", "<script>", "c" * 300):
        with pytest.raises(Reject, match="validationCode"):
            handshake(changed(document, "[0].data.validationCode", code))
    with pytest.raises(Reject, match="validationCode"):
        handshake(changed(document, "[0].data", "text"))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("type", "com.example.made"),
        ("subject", ...),
        ("subject", "/blobServices/default/containers/test-container"),
        ("subject", "/blobServices/default/containers//blobs/x"),
        ("subject", "/blobServices/default/containers/c/blobs/../../x"),
        ("subject", "/blobServices/default/containers/c/blobs//etc/passwd"),
        ("data", "text"),
        ("data.contentLength", "large"),
        ("data.eTag", 7),
        ("data.sequencer", "0" * 300),
    ],
)
def test_a_wrong_field_is_named_in_both_schemas(path: str, value: Any) -> None:
    with pytest.raises(Reject) as refused:
        read(changed(samples.azure(), path, value))
    assert [fault.field for fault in refused.value.faults] == [path]
    classic = {"type": "eventType"}.get(path, path)
    with pytest.raises(Reject) as refused:
        read([samples.azure_classic(), changed(samples.azure_classic(), classic, value)], {})
    assert [fault.field for fault in refused.value.faults] == [f"[1].{classic}"]


def test_a_classic_event_outside_of_an_array_says_how_it_should_come() -> None:
    with pytest.raises(Reject, match=r"body is .*array.*application/cloudevents\+json"):
        read(samples.azure_classic(), {})
    with pytest.raises(Reject, match=r"\[0\]\.eventTime"):
        read([changed(samples.azure_classic(), "eventTime", 5)], {})
    with pytest.raises(Reject, match=r"\[0\]\.eventType is missing"):
        read([{}], {})
