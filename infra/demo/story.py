"""The two stories of the demo: a simulated pump rig, and SKAB's real one. Same acts, other rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from homeostat.models.simulator import CHANNELS, simulate

DETECTOR = "pump"


class NoStory(Exception):
    """The folder does not hold what the story needs."""


@dataclass(frozen=True)
class Story:
    """`first` lands before anything serves, `second` when the world has changed; `later` is never trained on
    and judges the stale and the fresh model alike. `calm` and `shifted` are the traffic before and after."""

    title: str
    first: Sequence[pd.DataFrame]
    calm: pd.DataFrame
    shifted: pd.DataFrame
    second: Sequence[pd.DataFrame]
    later: Sequence[pd.DataFrame]
    gate: Mapping[str, float]

    def manifest(self, folder: Path) -> dict[str, Any]:
        """The Detector of this story, its waiting times short enough to watch."""
        rows = sum(map(len, self.first))
        return {
            "apiVersion": "homeostat.dev/v1alpha1",
            "kind": "Detector",
            "metadata": {"name": DETECTOR},
            "spec": {
                "data": {"uri": f"{folder}/", "channels": list(CHANNELS), "label": "anomaly"},
                "features": {"window": 30},
                "candidates": ["ensemble", "kmeans-ad", "autoencoder"],
                "gate": {"metric": "vus_pr", "improve": -0.05, "max_latency_ms": 50, **self.gate},
                "retrain": {
                    "min_new_rows": rows * 9 // 10,
                    "min_drift_rows": 1000,
                    "debounce": "500ms",
                    "cooldown": "2s",
                    # The fresh model learns from the changed rig alone: the old one is not coming back.
                    "max_rows": sum(map(len, self.second)),
                },
                "drift": {"window": 500, "every": 250, "consecutive": 3},
                "canary": {"steps": [20, 50], "every": "2s", "min_requests": 25, "max_latency_ratio": 10},
            },
        }


def simulated() -> Story:
    """A pump rig that is commissioned, runs calmly, and comes back rebuilt from an overhaul."""
    day = datetime(2026, 3, 1, 8)

    def rows(count: int, regime: str, hours: float, seed: int, faults: float = 0.0) -> pd.DataFrame:
        return simulate(count, regime=regime, start=day + timedelta(hours=hours), seed=seed, faults=faults)

    return Story(
        title="a simulated pump rig, rebuilt after a month",
        first=[rows(4000, "commissioned", 2 * i, 10 + i, 0.1) for i in range(2)],
        calm=rows(6000, "commissioned", 24, 20),
        shifted=rows(12000, "rebuilt", 24 * 31, 30),
        second=[rows(3000, "rebuilt", 24 * 31 + i, 40 + i, 0.1) for i in range(2)],
        later=[rows(4000, "rebuilt", 24 * 33 + 2 * i, 50 + i, 0.1) for i in range(2)],
        gate={"min": 0.4, "max_false_alarm_rate": 0.25},
    )


def skab(folder: Path) -> Story:
    """SKAB's rig: normal running on 2020-02-08, then the valve experiments of 2020-03-09, one month later.

    Raises NoStory when the folder is not laid out like SKAB.
    """
    normal = _frame(folder / "anomaly-free" / "anomaly-free.csv", labelled=False)
    valve = [
        _frame(file) for file in sorted((folder / "valve1").glob("*.csv"), key=lambda one: int(one.stem))
    ]
    if len(valve) < 10:
        raise NoStory(f"{folder / 'valve1'} holds {len(valve)} runs; SKAB's has 16")
    cut = len(normal) * 6 // 10
    return Story(
        title="SKAB's pump rig: February's normal running, then the valve experiments of March",
        first=[normal.iloc[: cut // 2], normal.iloc[cut // 2 : cut]],
        calm=normal.iloc[cut:],
        shifted=pd.concat(valve[:6], ignore_index=True),
        second=valve[:4],
        later=valve[6:],
        gate={"min": 0.4, "max_false_alarm_rate": 0.35},
    )


def _frame(file: Path, *, labelled: bool = True) -> pd.DataFrame:
    if not file.is_file():
        raise NoStory(f"there is no {file}; give a folder in SKAB's layout (anomaly-free/, valve1/)")
    frame = pd.read_csv(file, sep=";", parse_dates=["datetime"])
    return frame if labelled else frame.assign(anomaly=0)
