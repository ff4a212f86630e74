"""Labelled folders are read in every layout, and every fault of them is told at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from homeostat.infra.benchmark.folder import read
from homeostat.infra.benchmark.series import Columns
from homeostat.models.storage import DataError
from tests.infra.labelled_folders import FAULT, ROWS, frame, nab, plain, skab


def test_skabs_layout_is_recognised_and_its_anomaly_free_run_left_out(tmp_path: Path) -> None:
    found = read(skab(tmp_path))
    assert found.layout.title.startswith("SKAB")
    assert [one.name for one in found.series] == ["other/1.csv", "valve/2.csv", "valve/10.csv"]
    for one in found.series:
        assert one.channels == ("flow", "heat")
        assert one.period == 60.0
        assert np.flatnonzero(one.labels).tolist() == list(range(*FAULT))


def test_nabs_layout_has_its_labels_in_windows_of_time(tmp_path: Path) -> None:
    found = read(nab(tmp_path))
    assert found.layout.title.startswith("NAB")
    assert [one.name for one in found.series] == ["real/a.csv", "real/b.csv"]
    assert np.flatnonzero(found.series[0].labels).tolist() == list(range(*FAULT))
    assert not found.series[1].labels.any()
    assert found.series[0].channels == ("value",)


def test_plain_files_are_read_by_the_columns_that_are_named(tmp_path: Path) -> None:
    found = read(plain(tmp_path), columns=Columns(label="broken"))
    assert [one.name for one in found.series] == ["machine-0.csv", "machine-1.csv"]
    assert found.series[0].channels == ("flow", "heat")
    assert found.series[0].period is None
    assert found.series[0].labels.sum() == FAULT[1] - FAULT[0]
    narrow = read(tmp_path, columns=Columns(label="broken", channels=("heat",)))
    assert narrow.series[0].rows.shape == (ROWS, 1)


def test_the_layout_can_be_overruled(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"anomaly-free/calm\.csv: the label column"):
        read(skab(tmp_path), layout="csv")


def test_a_cell_without_a_number_holds_the_last_one_and_is_counted(tmp_path: Path) -> None:
    made = frame(0)
    made.loc[5:6, "flow"] = np.nan
    made.to_csv(tmp_path / "a.csv", index=False)
    one = read(tmp_path).series[0]
    assert one.held == 2
    assert one.rows[6, 0] == one.rows[4, 0] == made.flow[4]


def test_every_fault_of_every_file_is_told(tmp_path: Path) -> None:
    frame(0).drop(columns="anomaly").to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "b.csv").write_text("")
    frame(0).assign(datetime="soon").to_csv(tmp_path / "c.csv", index=False)
    (tmp_path / "d.csv").write_text("flow,anomaly\n1,0\n1,0,3\n")
    frame(0)[["anomaly"]].to_csv(tmp_path / "e.csv", index=False)
    with pytest.raises(DataError) as told:
        read(tmp_path)
    said = [str(one).replace(str(tmp_path), "") for one in told.value.faults]
    assert said[0].startswith("/a.csv: the label column 'anomaly' or 'is_anomaly'")
    assert "the file has 'datetime', 'flow', 'heat'" in said[0]
    assert said[1].startswith("/b.csv is an empty file")
    assert "/c.csv: column 'datetime' is 'soon' in row 1" in said[2]
    assert said[3].startswith("/d.csv: rows is no table")
    assert said[4].startswith("/e.csv: the number of columns with numbers is 0")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (Columns(label="broken"), "the label column 'broken' is missing: name it with --label"),
        (Columns(time="when"), "the time column 'when' is missing"),
        (Columns(channels=("flow", "fow")), "the channel 'fow' is missing"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_those_that_are(
    tmp_path: Path, columns: Columns, said: str
) -> None:
    with pytest.raises(DataError, match=said) as told:
        read(skab(tmp_path), columns=columns)
    assert "the file has 'datetime'" in str(told.value)


def test_a_folder_without_files_or_without_anomalies_has_nothing_to_judge(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\*\.csv is 0"):
        read(tmp_path)
    frame(0, fault=(0, 0)).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match="number of anomalous rows in 1 files is 0"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "text", ["[1]", "{", '{"a.csv": [["soon", "later"]]}', '{"a.csv": [["2014-01-01"]]}']
)
def test_windows_that_cannot_be_read_are_told_with_an_example(tmp_path: Path, text: str) -> None:
    nab(tmp_path)
    (tmp_path / "labels" / "combined_windows.json").write_text(text)
    with pytest.raises(DataError, match=r"combined_windows\.json is unreadable .*: write \{"):
        read(tmp_path)


def test_a_file_that_nabs_windows_do_not_know_is_a_fault(tmp_path: Path) -> None:
    nab(tmp_path)
    frame(0)[["datetime", "flow"]].to_csv(tmp_path / "data" / "new.csv", index=False)
    with pytest.raises(DataError, match=r"the entry 'new\.csv' is missing"):
        read(tmp_path)
