"""What becomes of an announced object: a batch, a rejection that names its faults, or another try later."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from homeostat.eventing.errors import Reject, Retry
from homeostat.eventing.messages import DataLanded
from homeostat.functions.detector import Batch
from homeostat.functions.spec import Data, Spec
from homeostat.infra.observing.inspect_data import inspect_batch
from homeostat.models.simulator import CHANNELS, simulate

NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    return Spec(data=Data(uri=f"{tmp_path}/", channels=CHANNELS, label="anomaly"))


def land(folder: Path, name: str = "rows.csv") -> Path:
    simulate(300, start=datetime(2026, 3, 1, 8), seed=1).to_csv(folder / name, sep=";", index=False)
    return folder / name


def test_a_good_object_becomes_a_batch(tmp_path: Path, spec: Spec) -> None:
    file = land(tmp_path)
    event = DataLanded(uri=str(file), etag="e1", size=file.stat().st_size, sequencer="0A")
    assert inspect_batch(event, spec, NOW) == Batch(
        uri=str(file),
        etag="e1",
        rows=300,
        sequencer="0A",
        first=datetime(2026, 3, 1, 8, tzinfo=UTC),
        last=datetime(2026, 3, 1, 8, 4, 59, tzinfo=UTC),
        landed=NOW,
    )


def test_without_an_etag_the_rows_tell_one_version_from_another(tmp_path: Path, spec: Spec) -> None:
    file = land(tmp_path)
    first = inspect_batch(DataLanded(uri=str(file)), spec, NOW)
    assert first.etag.startswith("sha256:")
    assert inspect_batch(DataLanded(uri=file.as_uri()), spec, NOW).etag == first.etag
    file.write_bytes(b"\n".join(file.read_bytes().splitlines()[:-1]))
    assert inspect_batch(DataLanded(uri=str(file)), spec, NOW).etag != first.etag


def test_an_object_that_is_not_there_yet_is_looked_at_again(tmp_path: Path, spec: Spec) -> None:
    with pytest.raises(Retry, match="not there yet") as caught:
        inspect_batch(DataLanded(uri=str(tmp_path / "later.csv")), spec, NOW)
    assert caught.value.after > 0


def test_an_object_counts_once_its_etag_is_the_one_that_was_announced(tmp_path: Path, s3: Any) -> None:
    spec = Spec(data=Data(uri="s3://plant/pump/", channels=CHANNELS, label="anomaly"))
    content = land(tmp_path).read_bytes()
    etag = s3.put_object(Bucket="plant", Key="pump/rows.csv", Body=content)["ETag"].strip('"')
    event = DataLanded(uri="s3://plant/pump/rows.csv", etag=etag, size=len(content))
    batch = inspect_batch(event, spec, NOW)
    assert batch is not None
    assert batch.rows == 300
    s3.put_object(Bucket="plant", Key="pump/rows.csv", Body=content.replace(b"2026", b"2027"))
    with pytest.raises(Retry, match="was announced"):
        inspect_batch(event, spec, NOW)
    # Written after it was announced: the newer version has an event of its own, nobody waits for this one.
    assert inspect_batch(event, spec, NOW, announced=datetime(2020, 1, 1, tzinfo=UTC)) is None


def test_an_object_that_is_still_being_written_is_looked_at_again(tmp_path: Path, spec: Spec) -> None:
    file = land(tmp_path)
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[: size // 2])
    with pytest.raises(Retry, match=f"of the announced {size} bytes"):
        inspect_batch(DataLanded(uri=str(file), size=size), spec, NOW)


def test_every_fault_is_rejected_at_once_by_field(tmp_path: Path, spec: Spec) -> None:
    file = land(tmp_path)
    text = file.read_text().replace("Pressure", "pressure").replace("2026-03-01 08:00:02", "soon")
    file.write_text(text)
    with pytest.raises(Reject) as caught:
        inspect_batch(DataLanded(uri=str(file)), spec, NOW)
    fields = {one.field: one for one in caught.value.faults}
    assert "did you mean 'pressure'" in fields["column 'Pressure'"].mend
    assert fields["column 'datetime'"].value == "'soon' in row 3"


def test_an_object_outside_the_detectors_data_is_rejected(spec: Spec) -> None:
    with pytest.raises(Reject) as caught:
        inspect_batch(DataLanded(uri="/etc/passwd"), spec, NOW)
    assert [one.field for one in caught.value.faults] == ["data.uri"]


@pytest.mark.parametrize("announced", [True, False])
def test_an_object_over_the_limit_is_rejected_by_its_size(
    tmp_path: Path, spec: Spec, announced: bool
) -> None:
    file = land(tmp_path)
    size = file.stat().st_size if announced else None
    with pytest.raises(Reject, match=r"HOMEOSTAT_MAX_OBJECT_BYTES \(now 1.0 KiB\)"):
        inspect_batch(DataLanded(uri=str(file), size=size), spec, NOW, max_bytes=1024)
