"""Files of rows: what reads, what is dropped and counted, and how every fault is told."""

from __future__ import annotations

import contextlib
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.models.data import DataError, Facts, fingerprint, inspect, read
from homeostat.models.storage import fetch

COLUMNS: dict[str, Any] = {"time": "datetime", "channels": ("Flow Rate", "Current"), "label": "anomaly"}


def table(count: int = 40, **changes: Any) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "datetime": pd.date_range("2026-03-01 08:00", periods=count, freq="s"),
            "Flow Rate": np.linspace(1, 2, count),
            "Current": np.linspace(-0.1, 7.3, count) ** 3,
            "other": "x",
            "anomaly": np.arange(count) % 7 == 0,
        }
    )
    return frame.assign(anomaly=frame["anomaly"].astype(float), **changes)


def csv(folder: Path, frame: pd.DataFrame, sep: str = ";", name: str = "rows.csv") -> Path:
    frame.to_csv(folder / name, sep=sep, index=False)
    return folder / name


def faults_of(uri: Any, **more: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(uri, **{**COLUMNS, **more})
    return str(caught.value)


# --- what reads ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("sep", [";", ",", "\t", "|"])
def test_the_separator_is_found_out(tmp_path: Path, sep: str) -> None:
    frame = read(csv(tmp_path, table(), sep), **COLUMNS)
    assert list(frame.columns) == ["datetime", "Flow Rate", "Current", "anomaly"]
    assert frame["anomaly"].dtype == np.int64
    np.testing.assert_array_equal(frame["Current"], table()["Current"])


def test_skab_reads_with_and_without_labels(shared: Path) -> None:
    columns: Any = {"time": "datetime", "channels": ("Pressure", "Volume Flow RateRMS"), "label": "anomaly"}
    labelled = read(shared / "data/skab/valve1/0.csv", **columns)
    assert (len(labelled), int(labelled["anomaly"].sum())) == (1147, 401)
    assert "anomaly" not in read(shared / "data/skab/anomaly-free/anomaly-free.csv", **columns)


def test_naive_times_are_utc_and_offsets_are_honoured(tmp_path: Path) -> None:
    text = "datetime,Flow Rate,Current\n2026-03-01T08:00:00,1,1\n2026-03-01T11:00:01+03:00,1,1\n"
    (tmp_path / "mixed.csv").write_text(text)
    times = read(tmp_path / "mixed.csv", **COLUMNS)["datetime"]
    assert [one.to_pydatetime() for one in times] == [
        datetime(2026, 3, 1, 8, 0, 0, tzinfo=UTC),
        datetime(2026, 3, 1, 8, 0, 1, tzinfo=UTC),
    ]


@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=30))
def test_the_fingerprint_is_that_of_the_rows_not_of_their_format(
    values: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("formats")
    frame = table(len(values), Current=values)
    frame.to_parquet(folder / "rows.parquet")
    frame.assign(datetime=frame["datetime"].dt.tz_localize("UTC")).to_parquet(folder / "aware.pq")
    files = [csv(folder, frame), csv(folder, frame, "\t", "rows.tsv")]
    files += [folder / "rows.parquet", folder / "aware.pq"]
    assert len({fingerprint(read(file, **COLUMNS)) for file in files}) == 1
    changed = frame.assign(**{"Flow Rate": frame["Flow Rate"] + 1})
    assert fingerprint(read(csv(folder, changed), **COLUMNS)) != inspect(files[1], **COLUMNS).fingerprint


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    text = table().to_csv(sep=";", index=False, lineterminator="\r\n")
    (tmp_path / "excel.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert len(read(tmp_path / "excel.csv", **COLUMNS)) == 40


def test_facts_say_what_was_found(tmp_path: Path) -> None:
    frame = table(100)
    frame.loc[[3, 4], "Current"] = [np.nan, np.inf]
    frame.loc[10, "datetime"] = frame.loc[9, "datetime"]
    found = inspect(csv(tmp_path, frame), **COLUMNS)
    assert found == Facts(
        rows=97,
        first=datetime(2026, 3, 1, 8, tzinfo=UTC),
        last=datetime(2026, 3, 1, 8, 1, 39, tzinfo=UTC),
        dropped=2,
        duplicates=1,
        columns=("datetime", "Flow Rate", "Current", "other", "anomaly"),
        fingerprint=found.fingerprint,
    )


def test_of_rows_with_one_time_the_last_is_kept(tmp_path: Path) -> None:
    frame = table(10)
    frame.loc[6, "datetime"] = frame.loc[2, "datetime"]
    read_back = read(csv(tmp_path, frame), **COLUMNS)
    twice = read_back[read_back["datetime"] == pd.Timestamp("2026-03-01 08:00:02", tz="UTC")]
    assert twice["Current"].tolist() == [frame["Current"][6]]


def test_rows_without_a_label_are_kept_as_unknown(tmp_path: Path) -> None:
    frame = table(10)
    frame.loc[3:, "anomaly"] = np.nan
    labels = read(csv(tmp_path, frame), **COLUMNS)["anomaly"]
    assert labels.tolist()[:3] == [1, 0, 0]
    assert labels.isna().sum() == 7


def test_any_fsspec_url_is_read() -> None:
    system = fsspec.filesystem("memory")
    system.pipe("/plant/pump/a.csv", table().to_csv(index=False).encode())
    assert len(read("memory://plant/pump/a.csv", **COLUMNS, root="memory://plant/pump/")) == 40
    assert "only objects under" in faults_of("memory://plant/pump/a.csv", root="memory://plant/fan/")
    assert "only objects under" in faults_of("memory://plant/pump/a.csv", root="memory://plant/pu")


def test_a_file_uri_is_a_path_with_escapes(tmp_path: Path) -> None:
    file = csv(tmp_path, table(), name="my rows.csv")
    assert len(read(file.as_uri(), **COLUMNS, root=tmp_path)) == 40


# --- faults ----------------------------------------------------------------------------------------------
def test_every_fault_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    frame = table().astype({"Current": object, "datetime": str}).rename(columns={"Flow Rate": "flow_rate"})
    frame.loc[4, "Current"], frame.loc[2, "datetime"] = "high", "yesterday"
    said = faults_of(csv(tmp_path, frame))
    assert "column 'Flow Rate' is missing: did you mean 'flow_rate'?" in said
    assert "column 'Current' is 'high' in row 5" in said
    assert "column 'datetime' is 'yesterday' in row 3" in said


def test_a_label_that_is_written_otherwise_is_not_lost_in_silence(tmp_path: Path) -> None:
    file = csv(tmp_path, table().rename(columns={"anomaly": "Anomaly"}))
    assert "did you mean 'Anomaly'" in faults_of(file)


def test_a_column_that_is_nowhere_is_named_beside_those_that_are(tmp_path: Path) -> None:
    said = faults_of(csv(tmp_path, table().drop(columns="Current")))
    assert "column 'Current' is missing" in said
    assert "'Flow Rate'" in said


def test_more_than_a_few_empty_cells_are_a_fault_with_their_number(tmp_path: Path) -> None:
    frame = table(100)
    frame.loc[:5, "Current"] = np.nan
    assert "column 'Current' is empty or not finite in 6 rows" in faults_of(csv(tmp_path, frame))
    assert len(read(csv(tmp_path, frame), **COLUMNS, max_dropped=0.1)) == 94


def test_rows_of_one_time_only_are_a_fault(tmp_path: Path) -> None:
    said = faults_of(csv(tmp_path, table(datetime="2026-03-01 08:00:00")))
    assert "column 'datetime' is the same in 39 of 40 rows" in said


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("empty.csv", b"", "empty file"),
        ("blank.csv", b"\n\n", "missing"),
        ("header.csv", b"datetime;Flow Rate;Current\n", "only a header"),
        ("latin.csv", b"datetime;Flow Rate;Current;Temp \xb0C\n", "0xb0 at byte 32"),
        (
            "late.csv",
            b"datetime;Flow Rate;Current\n" + b"2026-03-01;1;1\n" * 90_000 + b"\xff",
            "byte 1350027",
        ),
        ("ragged.csv", b"datetime,Flow Rate,Current\n2026-03-01,1,1\n2026-03-02,1,1,4,5\n", "line 3"),
        ("decimal.csv", b"datetime,Flow Rate,Current\n2026-03-01,1,5,1\n2026-03-02,1,5,1\n", "more fields"),
        ("comma.csv", b"datetime;Flow Rate;Current\n2026-03-01;1,5;1\n", "'1,5' in row 1"),
        ("epoch.csv", b"datetime;Flow Rate;Current\n1772352000;1;1\n", "1772352000 in row 1"),
        ("twice.csv", b"datetime;Current;Flow Rate;Current\n2026-03-01;1;1;2\n", "there 2 times"),
        ("corrupt.parquet", b"PAR1 this is no parquet PAR1", "no readable Parquet"),
        ("rows.xlsx", b"PK", "unknown kind of file"),
    ],
)
def test_a_file_that_holds_no_rows_says_why(tmp_path: Path, name: str, content: bytes, named: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert named in faults_of(tmp_path / name)


def test_parquet_cut_anywhere_is_corrupt_and_nothing_else(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    table().to_parquet(buffer)
    whole = buffer.getvalue()
    for length in range(1, len(whole), 97):
        (tmp_path / "cut.parquet").write_bytes(whole[:length])
        assert "no readable Parquet" in faults_of(tmp_path / "cut.parquet")


def test_parquet_that_unfolds_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    one = {"datetime": pa.array([datetime(2026, 3, 1)] * 300_000)}
    zeros = pa.array(np.zeros(300_000))
    pq.write_table(pa.table(one | {"Flow Rate": zeros, "Current": zeros}), tmp_path / "bomb.parquet")
    assert (tmp_path / "bomb.parquet").stat().st_size < 20_000
    assert "split the file" in faults_of(tmp_path / "bomb.parquet", max_bytes=1_000_000)


def test_a_file_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.csv").open("wb") as huge:
        huge.truncate(2 * 1024**3)
    said = faults_of(tmp_path / "huge.csv")
    assert "2.0 GiB" in said
    assert "split the file or raise HOMEOSTAT_MAX_OBJECT_BYTES (now 512.0 MiB)" in said


def test_what_lies_outside_the_root_is_not_opened_whatever_it_is_called(tmp_path: Path) -> None:
    root = tmp_path / "pump"
    root.mkdir()
    secret = csv(tmp_path, table(), name="secret.csv")
    (root / "link.csv").symlink_to(secret)
    ways = [secret, root / "../secret.csv", root / "link.csv", secret.as_uri(), "/etc/passwd"]
    ways += [f"{root.as_uri()}/%2e%2e/secret.csv", "memory://secret.csv", f"simplecache::file://{secret}"]
    for way in ways:
        assert str(way) in faults_of(way, root=root)
        assert "root:" not in faults_of(way, root=root)


def test_a_folder_beside_the_root_with_a_longer_name_is_outside(tmp_path: Path) -> None:
    (tmp_path / "pump2").mkdir()
    file = csv(tmp_path / "pump2", table())
    assert "only objects under" in faults_of(file, root=tmp_path / "pump")


def test_what_is_not_there_is_no_fault_of_the_data(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "later.csv", **COLUMNS)
    with pytest.raises(FileNotFoundError):
        read("memory://nowhere/later.csv", **COLUMNS)


def test_a_folder_is_no_file_and_an_unknown_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    assert "no file" in faults_of(tmp_path / "folder.csv")
    assert "nosuch://" in faults_of("nosuch://bucket/a.csv")


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=300), suffix=st.sampled_from([".csv", ".parquet"]))
def test_no_bytes_crash_the_reader(
    content: bytes, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("any") / f"bytes{suffix}"
    header = b"datetime;Flow Rate;Current\n" if suffix == ".csv" else b""
    file.write_bytes(header + content)
    with contextlib.suppress(DataError):  # and nothing else
        assert len(read(file, **COLUMNS)) > 0
    assert fetch(file) == header + content
