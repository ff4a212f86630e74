"""Knative's aws-s3 source: the object is the data, kept before it is announced."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from homeostat.eventing.errors import Reject, Retry
from homeostat.eventing.gateway.storage import KEEPING
from homeostat.eventing.messages import DataLanded

CSV = b"datetime,Current\n2026-01-01T00:00:00Z,1.5\n"
# The attributes as the source's own tests expect them (apache/camel-kamelets and knative/eventing,
# test/rekt/resources/integrationsource).
HEADERS = {
    "ce-id": "2DA0F1A5D9E4B21-0000000000000001",
    "ce-specversion": "1.0",
    "ce-type": "dev.knative.eventing.aws-s3",
    "ce-source": "dev.knative.eventing.aws-s3-source",
    "ce-subject": "aws-s3-source",
    "content-type": "application/octet-stream",
}
stored = KEEPING["knative-s3"]


class Folder:
    """Keeps objects as a home would."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, name: str, content: bytes) -> str:
        (self.root / name).write_bytes(content)
        return str(self.root / name)


def test_the_object_is_kept_under_its_digest_and_then_announced(tmp_path: Path) -> None:
    (fact,) = stored(HEADERS, CSV, Folder(tmp_path))
    digest = hashlib.sha256(CSV).hexdigest()
    uri = str(tmp_path / f"{digest}.csv")
    assert fact.message == DataLanded(uri=uri, etag=digest, size=len(CSV))
    assert fact.subject is None
    assert Path(uri).read_bytes() == CSV


def test_the_manifest_may_name_the_detector(tmp_path: Path) -> None:
    (fact,) = stored(HEADERS | {"ce-detector": "pump"}, CSV, Folder(tmp_path))
    assert fact.subject == "pump"
    for wrong in ("Pump", "a/b", "-", "p" * 300):
        with pytest.raises(Reject, match="detector"):
            stored(HEADERS | {"ce-detector": wrong}, CSV, Folder(tmp_path))


def test_a_second_reading_is_the_same_event_and_other_bytes_are_not(tmp_path: Path) -> None:
    first, again, other = (
        stored(HEADERS | {"ce-id": str(place)}, content, Folder(tmp_path))[0].id
        for place, content in enumerate((CSV, CSV, CSV + b"2026-01-01T00:00:01Z,1.6\n"))
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (b"PAR1" + b"\0" * 20 + b"PAR1", ".parquet"),
        (CSV, ".csv"),
        (b"\xef\xbb\xbf" + CSV, ".csv"),
        (b' [{"a": 1}]', ".json"),
        (b'{"a": 1}\n{"a": 2}', ".json"),
    ],
)
def test_the_content_tells_the_format(content: bytes, suffix: str, tmp_path: Path) -> None:
    stored(HEADERS, content, Folder(tmp_path))
    assert [path.suffix for path in tmp_path.iterdir()] == [suffix]


@pytest.mark.parametrize(
    "content", [b"", b"  \n", b"PAR1", b"PAR1" + b"\0" * 20, b"\x89PNG\r\n", b"\0\0", b"\xff\xd8\xff\xe0"]
)
def test_what_holds_no_rows_is_not_kept(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(Reject, match=r"data is .*Parquet, CSV or JSON"):
        stored(HEADERS, content, Folder(tmp_path))
    assert not list(tmp_path.iterdir())


def test_nothing_is_announced_that_could_not_be_kept(tmp_path: Path) -> None:
    with pytest.raises(Retry, match="cannot be kept now"):
        stored(HEADERS, CSV, Folder(tmp_path / "missing"))


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(Reject) as refused:
        stored(HEADERS | {"ce-type": "dev.knative.eventing.timer", "ce-detector": "?"}, b"", Folder(tmp_path))
    assert [fault.field for fault in refused.value.faults] == ["type", "detector", "data"]
    with pytest.raises(Reject, match="no CloudEvent"):
        stored({}, CSV, Folder(tmp_path))
