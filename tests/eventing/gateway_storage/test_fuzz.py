"""Whatever a stranger makes of a notification: a list of facts or a Reject with faults, nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.eventing.errors import Reject
from homeostat.eventing.gateway.storage import KEEPING, STORAGE, handshake
from homeostat.eventing.messages import DataLanded

from . import samples
from .samples import Steps, changed

DOCUMENTS: dict[str, list[tuple[dict[str, str], Any]]] = {
    "s3": [
        ({}, samples.s3()),
        ({}, samples.minio()),
        (samples.ceph_headers(), samples.ceph()),
        ({}, samples.sns(orjson.dumps(samples.s3()).decode())),
    ],
    "eventbridge": [({}, samples.eventbridge())],
    "gcs": [(samples.gcs_headers(), samples.gcs())],
    "pubsub": [({}, samples.pubsub(samples.gcs())), ({}, samples.pubsub())],
    "azure": [
        (samples.STRUCTURED, samples.azure()),
        (samples.BATCHED, [samples.azure()]),
        ({}, [samples.azure_classic()]),
        ({}, samples.AZURE_VALIDATION),
    ],
}


def paths(document: Any, way: Steps = ()) -> Iterator[Steps]:
    inner: Iterable[tuple[int | str, Any]] = ()
    if isinstance(document, dict):
        inner = document.items()
    elif isinstance(document, list):
        inner = enumerate(document)
    for step, one in inner:
        yield (*way, step)
        yield from paths(one, (*way, step))


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
names = st.sampled_from(["Records", "Type", "s3", "type", "data", "eventName", "message", "key", "size"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text | names, inner, max_size=4),
    max_leaves=12,
)


def check(vendor: str, headers: dict[str, str], body: bytes) -> None:
    try:
        facts = STORAGE[vendor](headers, body)
    except Reject as refused:
        assert refused.faults  # noqa: PT017 - being read is fine too
        # An attribute whose name is empty has a fault under that name.
        assert all(fault.mend and len(fault.value) < 200 for fault in refused.faults)  # noqa: PT017
        return
    for fact in facts:
        assert isinstance(fact.message, DataLanded)
        assert fact.message.uri.startswith(f"{fact.source}/")
        assert ".." not in fact.message.uri.split("/")


@pytest.mark.parametrize("vendor", DOCUMENTS)
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_change_of_a_documented_payload_breaks_a_translator(vendor: str, data: st.DataObject) -> None:
    headers, document = data.draw(st.sampled_from(DOCUMENTS[vendor]))
    for _ in range(data.draw(st.integers(1, 3))):
        places = list(paths(document))
        if not places:
            break
        document = changed(
            document, data.draw(st.sampled_from(places)), data.draw(st.just(...) | json_values)
        )
    check(vendor, headers, orjson.dumps(document))


@pytest.mark.parametrize("vendor", DOCUMENTS)
@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["content-type", "ce-type", "ce-id", "ce-source", "ce-specversion", "ce-subject"]),
        text | st.sampled_from([*samples.STRUCTURED.values(), *samples.BATCHED.values(), "1.0"]),
    ),
    json_values.map(orjson.dumps) | st.binary(max_size=100),
)
def test_no_headers_and_no_bytes_break_a_translator(
    vendor: str, headers: dict[str, str], body: bytes
) -> None:
    check(vendor, headers, body)


@given(json_values)
def test_no_document_breaks_the_handshake(document: Any) -> None:
    try:
        assert handshake(document) is None
    except Reject as refused:
        assert refused.faults  # noqa: PT017 - a broken handshake is refused


@given(st.dictionaries(st.sampled_from(["ce-type", "ce-id", "content-type"]), text), st.binary(max_size=50))
def test_no_object_breaks_the_keeping_door(headers: dict[str, str], body: bytes) -> None:
    try:
        KEEPING["knative-s3"](headers, body, lambda name, _: f"/kept/{name}")
    except Reject as refused:
        assert refused.faults  # noqa: PT017 - being kept is fine too
