"""Metrics read as Katib's collectors read them; the cases are those of its own collector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from homeostat.infra.local.tuning_metrics import (
    DEFAULT_FILTER,
    Collector,
    Reading,
    Unreadable,
    chosen,
    collector,
)


def reading(folder: Path, text: str, *, json: bool = False, filters: tuple[str, ...] = ()) -> Reading:
    file = folder / "log"
    file.write_text(text)
    found = Reading(Collector(None, json, filters or (DEFAULT_FILTER,), ("loss", "acc")), file)
    found.more(last=True)
    return found


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("loss=0.3", ["0.3"]),
        ("loss = .98", [".98"]),
        ("loss=-7.53e-05", ["-7.53e-05"]),
        ("loss=1E0, acc=2, loss=+4", ["1E0", "+4"]),
        ("epoch 3 {loss=5}", ["5"]),
        ("my-loss=5", []),
        ("loss|x=5", []),
        ("loss: 5", []),
        ("LOSS=5", []),
        ("2026-11-24T10:00:00Z INFO loss=7", ["7"]),
        ("loss=abc", [""]),
    ],
)
def test_the_default_filter_takes_what_katib_takes(tmp_path: Path, line: str, values: list[str]) -> None:
    found = reading(tmp_path, f"noise\n{line}\n")
    assert [one.value for one in found.reported if one.name == "loss"] == values


def test_a_filter_of_ones_own_replaces_the_default(tmp_path: Path) -> None:
    found = reading(
        tmp_path,
        "{metricName: loss, metricValue: 0.25}\nloss=3\n",
        filters=(r"{metricName: ([\w|-]+), metricValue: ((-?\d+)(\.\d+)?)}",),
    )
    assert found.of("loss") == [0.25]


def test_an_observation_has_the_least_the_largest_and_the_latest_as_they_were_written(tmp_path: Path) -> None:
    found = reading(tmp_path, "loss=2.50\nloss=1e0\nloss=9\nloss=3.0\n").observation(["loss", "acc"])
    assert found == [
        {"name": "loss", "min": "1e0", "max": "9", "latest": "3.0"},
        {"name": "acc", "min": "unavailable", "max": "unavailable", "latest": "unavailable"},
    ]
    assert [chosen(found, "loss", how) for how in ("min", "max", "latest")] == [1, 9, 3]
    assert chosen(found, "acc", "min") is None


def test_the_latest_is_the_one_with_the_latest_time(tmp_path: Path) -> None:
    lines = [
        "2026-11-24T10:00:02.123456789Z loss=2",
        "2026-11-24T10:00:01Z loss=1",
        "2026-11-24T11:00:00+02:00 loss=0",
        "loss=7",
    ]
    (found, _) = reading(tmp_path, "\n".join(lines)).observation(["loss", "acc"])
    assert found["latest"] == "2"


@pytest.mark.parametrize("value", ["nan", "NaN", ""])
def test_what_is_no_number_is_no_result(tmp_path: Path, value: str) -> None:
    found = reading(tmp_path, f"loss={value}\n", filters=(r"(loss)=(\w*)",)).observation(["loss"])
    assert chosen(found, "loss", "min") is None


def test_json_lines_give_values_that_are_text_with_their_times(tmp_path: Path) -> None:
    text = (
        '{"loss": "0.5", "acc": "0.1", "timestamp": 1764000002.5}\n\n'
        '{"loss": "0.7", "timestamp": "2025-11-24T16:00:00Z", "epoch": 2}\n'
        '{"loss": 0.1, "timestamp": 1764000009}\n'
        '{"other": "1"}\n'
    )
    found = reading(tmp_path, text, json=True)
    assert found.of("loss") == [0.5, 0.7]
    assert found.observation(["loss"])[0]["latest"] == "0.5"


@pytest.mark.parametrize("line", ["loss=1", "[1]", '{"loss": '])
def test_a_line_that_is_no_json_object_is_said(tmp_path: Path, line: str) -> None:
    with pytest.raises(Unreadable, match="metrics file"):
        reading(tmp_path, f"{line}\n", json=True)


def test_a_file_is_read_on_by_whole_lines_and_once(tmp_path: Path) -> None:
    found = Reading(Collector(None, False, (DEFAULT_FILTER,), ("loss",)), tmp_path / "log")
    found.more()
    with (tmp_path / "log").open("w") as log:
        for piece, values in (("loss=1\nlo", [1.0]), ("ss=2", [1.0]), ("3\nloss=4", [1.0, 23.0])):
            log.write(piece)
            log.flush()
            found.more()
            assert found.of("loss") == values
    found.more(last=True)
    assert found.of("loss") == [1.0, 23.0, 4.0]


@pytest.mark.parametrize(
    ("spec", "path", "json"),
    [
        ({}, None, False),
        ({"collector": {"kind": "StdOut"}}, None, False),
        ({"collector": {"kind": "File"}}, "/var/log/katib/metrics.log", False),
        (
            {
                "collector": {"kind": "File"},
                "source": {"fileSystemPath": {"path": "/katib/a.json", "kind": "File", "format": "JSON"}},
            },
            "/katib/a.json",
            True,
        ),
    ],
)
def test_collectors_have_katibs_defaults(spec: dict[str, Any], path: str | None, json: bool) -> None:
    found = collector({"metricsCollectorSpec": spec}, ["loss"], [])
    assert (found.path, found.json) == (path, json)
