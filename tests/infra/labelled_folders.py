"""Tiny labelled folders in every layout that the benchmark reads: two channels, a fault in the last third."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

ROWS, FAULT = 300, (220, 250)


def frame(seed: int, rows: int = ROWS, fault: tuple[int, int] = FAULT) -> pd.DataFrame:
    """A row a minute: `flow` and `heat` are noise around a level that leaps during the fault."""
    rng = np.random.default_rng(seed)
    values = rng.normal([5, 50], 1.0, (rows, 2))
    values[slice(*fault)] += 12
    times = pd.date_range("2026-03-01", periods=rows, freq="60s")
    made = pd.DataFrame({"datetime": times, "flow": values[:, 0], "heat": values[:, 1], "anomaly": 0.0})
    made.loc[fault[0] : fault[1] - 1, "anomaly"] = 1.0
    return made


def skab(folder: Path) -> Path:
    """Two files in groups, and an anomaly-free one that has no labels."""
    for seed, name in enumerate(("valve/2.csv", "valve/10.csv", "other/1.csv")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frame(seed).assign(changepoint=0.0).to_csv(path, sep=";", index=False)
    (folder / "anomaly-free").mkdir()
    frame(9).drop(columns="anomaly").to_csv(folder / "anomaly-free" / "calm.csv", sep=";", index=False)
    return folder


def nab(folder: Path) -> Path:
    """A file with a window, and one with none."""
    windows: dict[str, list[list[str]]] = {}
    for seed, name in enumerate(("real/a.csv", "real/b.csv")):
        path = folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        made = frame(seed, fault=FAULT if seed == 0 else (0, 0))
        windows[name] = (
            [[str(made.datetime[FAULT[0]]), str(made.datetime[FAULT[1] - 1])]] if seed == 0 else []
        )
        made[["datetime", "flow"]].set_axis(["timestamp", "value"], axis=1).to_csv(path, index=False)
    (folder / "labels").mkdir()
    (folder / "labels" / "combined_windows.json").write_text(json.dumps(windows))
    return folder


def plain(folder: Path) -> Path:
    """Two files with the label column `broken`, without a time, with a column of text."""
    for seed in range(2):
        path = folder / f"machine-{seed}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        made = frame(seed).rename(columns={"anomaly": "broken"}).drop(columns="datetime")
        made.assign(place="hall").to_csv(path, index=False)
    return folder
