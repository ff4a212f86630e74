"""Local times and cells without a number, as a Detector wants them read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from homeostat.models.data import DataError, inspect, read


def written(folder: Path, text: str) -> Path:
    file = folder / "rows.csv"
    file.write_text(text)
    return file


def test_naive_times_are_local_to_the_detectors_zone(tmp_path: Path) -> None:
    file = written(tmp_path, "time,flow\n2026-07-01T12:00:00,1\n2026-07-01T12:00:01Z,2\n")
    frame = read(file, time="time", channels=["flow"], timezone="Europe/Berlin")
    assert frame["time"].dt.strftime("%H:%M:%S").tolist() == ["10:00:00", "12:00:01"]


def test_the_hour_that_autumn_repeats_is_two_hours_long(tmp_path: Path) -> None:
    local = [f"2025-10-26T02:{minute:02}:00" for _ in range(2) for minute in range(60)]
    file = written(tmp_path, "time,flow\n" + "".join(f"{one},{k}\n" for k, one in enumerate(local)))
    frame = read(file, time="time", channels=["flow"], timezone="Europe/Berlin")
    assert len(frame) == 120
    assert (frame["time"].diff().dropna().dt.total_seconds() == 60).all()


def test_an_unknown_zone_is_refused_by_name(tmp_path: Path) -> None:
    file = written(tmp_path, "time,flow\n2026-07-01T12:00:00,1\n")
    with pytest.raises(DataError, match=r"data\.timezone.*'Mars/Base'.*Europe/Berlin"):
        read(file, time="time", channels=["flow"], timezone="Mars/Base")


def test_rows_without_a_number_stay_where_values_are_held(tmp_path: Path) -> None:
    lines = [f"2026-07-01T12:00:{k:02},{'' if k % 2 else k},{k}" for k in range(10)]
    file = written(tmp_path, "time,flow,heat\n" + "\n".join(lines) + "\n")
    frame = read(file, time="time", channels=["flow", "heat"], missing="hold:3")
    assert np.isnan(frame["flow"]).tolist() == [False, True] * 5
    assert inspect(file, time="time", channels=["flow", "heat"], missing="hold:3").rows == 10
    with pytest.raises(DataError, match="'flow'"):
        inspect(file, time="time", channels=["flow", "heat"])


def test_a_row_without_any_number_is_dropped_all_the_same(tmp_path: Path) -> None:
    lines = [f"2026-07-01T12:00:{k:02},{'' if k == 3 else k}" for k in range(30)]
    file = written(tmp_path, "time,flow\n" + "\n".join(lines) + "\n")
    assert inspect(file, time="time", channels=["flow"], missing="hold:3").dropped == 1
