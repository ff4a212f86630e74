"""Whatever is thrown at the loop gets a clear answer, ends in the dead letters, and the loop goes on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from homeostat.eventing.messages import DataLanded, TrainingCompleted, TrainingRequested
from homeostat.infra.local.views import dead_letters
from tests.scenarios.homes import RunningHome, rows


def dead(home: RunningHome, identity: str) -> Mapping[str, Any]:
    """The dead letter that the event became."""

    def find() -> Mapping[str, Any] | None:
        return next((one for one in dead_letters(home.settings) if one["id"] == identity), None)

    letter: Mapping[str, Any] = home.until(find, 30, f"{identity} in the dead letters")
    return letter


def landed(home: RunningHome, name: str, content: bytes) -> str:
    """Put bytes where the pump's data lies and announce them, as an object store would."""
    folder = home.settings.data("pump")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return home.emit(DataLanded.type, {"uri": str(folder / name), "etag": name, "size": len(content)})


def csv(**changes: Any) -> bytes:
    frame = rows(200).assign(**changes)
    return bytes(frame.to_csv(sep=";", index=False).encode())


BAD_FILES: Mapping[str, tuple[bytes, str]] = {
    "missing-column.csv": (
        csv().replace(b"Pressure", b"Druck"),
        "Pressure",
    ),
    "nan-rows.csv": (csv(Current=float("nan")), "Current"),
    "same-time.csv": (csv(datetime="2026-03-01 08:00:00"), "datetime"),
    "empty.csv": (b"", "empty"),
    "header-only.csv": (csv().splitlines(keepends=True)[0], "row"),
    "latin-1.csv": (csv().replace(b"Voltage", "Völtäge".encode("latin-1")), "UTF-8"),
    "corrupt.parquet": (b"PAR1 this is no parquet PAR1", "arquet"),
    "words.csv": (csv(Current="high"), "high"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_ends_in_the_dead_letters_naming_what_is_wrong(home: RunningHome, name: str) -> None:
    content, named = BAD_FILES[name]
    letter = dead(home, landed(home, name, content))
    assert letter["trigger"].endswith("receive-data")
    assert letter["code"] == 400
    assert named in letter["reason"]


def test_a_2_gb_file_is_refused_by_its_size_without_being_read(home: RunningHome) -> None:
    folder = home.settings.data("pump")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "huge.csv").open("wb") as huge:
        os.truncate(huge.fileno(), 2 * 1024**3)
    uri = str(folder / "huge.csv")
    letter = dead(home, home.emit(DataLanded.type, {"uri": uri, "size": 2 * 1024**3}))
    assert "2.0 GiB" in letter["reason"]
    assert "split" in letter["reason"]


def test_a_file_outside_the_detectors_data_is_not_opened(home: RunningHome) -> None:
    letter = dead(home, home.emit(DataLanded.type, {"uri": "/etc/passwd"}))
    assert "/etc/passwd" in letter["reason"]
    assert "root:" not in letter["reason"]


def test_an_unknown_detector_is_named_beside_the_known_ones(home: RunningHome) -> None:
    letter = dead(home, home.emit(TrainingRequested.type, {}, subject="fan"))
    assert "'fan'" in letter["reason"]
    assert "pump" in letter["reason"]


def test_every_fault_of_a_malformed_event_is_told_at_once(home: RunningHome) -> None:
    letter = dead(home, home.emit(TrainingRequested.type, {"force": "perhaps", "candidates": 7}))
    assert "data.force" in letter["reason"]
    assert "data.candidates" in letter["reason"]


def test_what_is_no_cloudevent_is_refused_at_the_door(home: RunningHome) -> None:
    answer = httpx.post(home.settings.sink, content=b"hello", headers={"content-type": "text/plain"})
    assert answer.status_code == 400
    assert "ce-id" in answer.text


@pytest.mark.slow
def test_after_all_that_the_loop_still_trains(home: RunningHome, files: Path) -> None:
    home.land(rows(1600), "good.csv", files)
    home.until(lambda: home.events(TrainingCompleted.type), 120, "training.completed")
