"""Labelled folders in the layouts that benchmarks come in: SKAB's, NAB's, and plain CSV files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from homeostat.models.storage import DataError, Fault

from .series import TIMES, Columns, Series, labelled, series, stamps, table

LayoutName = Literal["skab", "nab", "csv"]
ANOMALY_FREE = "anomaly-free"
WINDOWS = Path("labels") / "combined_windows.json"


@dataclass(frozen=True)
class Layout:
    """`train` is what the layout's own protocol fits of each series: rows, or a share of them."""

    title: str
    train: float
    recognise: Callable[[Path], bool]
    read: Callable[[Path, Columns], list[Series]]


@dataclass(frozen=True)
class Dataset:
    """The series of one folder, in the order of their names."""

    folder: Path
    layout: Layout
    series: tuple[Series, ...]


def read(folder: Path, layout: LayoutName | None = None, columns: Columns | None = None) -> Dataset:
    """Every labelled series of a folder; the layout is told by what lies there.

    Raises FileNotFoundError without the folder, and DataError with every fault of its files.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    chosen = LAYOUTS[layout] if layout else next(one for one in LAYOUTS.values() if one.recognise(folder))
    found = chosen.read(folder, columns or Columns())
    if not any(one.labels.any() for one in found):
        mend = "there is nothing to find: name the column with --label, or take labelled files"
        raise DataError(Fault(f"the number of anomalous rows in {len(found)} files", "0", mend))
    return Dataset(folder, chosen, tuple(found))


def _is_skab(folder: Path) -> bool:
    """Sub-folders of ;-separated files with the columns anomaly and changepoint."""
    for path in folder.glob("*/*.csv"):
        if path.parent.name != ANOMALY_FREE:
            with path.open(encoding="utf-8", errors="replace") as file:
                names = file.readline().strip().split(";")
            return {"anomaly", "changepoint"} <= set(names)
    return False


def _skab(folder: Path, columns: Columns) -> list[Series]:
    files = [one for one in folder.glob("*/*.csv") if one.parent.name != ANOMALY_FREE]
    return _each(folder, files, "*/*.csv", lambda path, name: labelled(path, name, columns))


def _plain(folder: Path, columns: Columns) -> list[Series]:
    files = list(folder.rglob("*.csv"))
    return _each(folder, files, "*.csv", lambda path, name: labelled(path, name, columns))


def _nab(folder: Path, columns: Columns) -> list[Series]:
    """data/**/*.csv, and for each of them the windows of time that are anomalous."""
    place = folder / WINDOWS
    windows = _windows(place)

    def one(path: Path, name: str) -> Series:
        if name not in windows:
            mend = f"give the file its list of windows there, empty if it has none ({len(windows)} have one)"
            raise DataError(Fault(f"{place}: the entry {name!r}", "missing", mend))
        frame = table(path)
        clock = columns.time or next((one for one in frame.columns if str(one).casefold() in TIMES), None)
        if clock is None or clock not in frame.columns:
            shown = ", ".join(map(repr, frame.columns))
            mend = f"name it with --time; the file has {shown}"
            raise DataError(Fault(f"{path}: the time column", "missing", mend))
        times = stamps(frame, path, clock)
        named = Columns(time=clock, channels=columns.channels)
        inside = np.zeros(len(times), np.bool_)
        for first, last in windows[name]:
            inside |= (times >= first) & (times <= last)
        return series(frame, path, name, named, inside)

    return _each(folder / "data", list((folder / "data").rglob("*.csv")), "data/**/*.csv", one)


def _windows(place: Path) -> dict[str, list[tuple[np.datetime64, np.datetime64]]]:
    """The first and last anomalous time (UTC) of each window, by file."""
    import pandas as pd

    try:
        written = json.loads(place.read_text(encoding="utf-8"))
        return {
            str(name): [
                (pd.Timestamp(first).to_datetime64(), pd.Timestamp(last).to_datetime64())
                for first, last in pairs
            ]
            for name, pairs in written.items()
        }
    except FileNotFoundError:
        mend = "put NAB's file of that name there, or choose another --layout"
        raise DataError(Fault(str(place), "missing", mend)) from None
    except (ValueError, TypeError, AttributeError) as error:
        mend = 'write {"folder/file.csv": [["2014-01-01 00:00:00", "2014-01-02 00:00:00"]]}'
        raise DataError(Fault(str(place), f"unreadable ({error})", mend)) from None


def _each(root: Path, files: list[Path], pattern: str, one: Callable[[Path, str], Series]) -> list[Series]:
    """The series of every file; DataError has the faults of all of them, the first twenty."""
    found: list[Series] = []
    faults: list[Fault] = []
    for path in sorted(files, key=_natural):
        try:
            found.append(one(path, path.relative_to(root).as_posix()))
        except DataError as error:
            faults += error.faults
    if not files:
        faults.append(Fault(f"the number of files {root}/{pattern}", "0", "name a folder that holds some"))
    if faults:
        raise DataError(*faults[:20])
    return found


def _natural(path: Path) -> tuple[object, ...]:
    """Folders by name, files 2 before 10."""
    return (
        str(path.parent),
        not path.stem.isdigit(),
        int(path.stem) if path.stem.isdigit() else 0,
        path.name,
    )


LAYOUTS: Mapping[LayoutName, Layout] = MappingProxyType(
    {
        "nab": Layout("NAB's layout", 0.15, lambda folder: (folder / WINDOWS).is_file(), _nab),
        "skab": Layout(f"SKAB's layout, {ANOMALY_FREE} left out", 400, _is_skab, _skab),
        "csv": Layout("CSV files with a label column", 400, lambda _: True, _plain),
    }
)
"""In the order in which a folder is tried for them; the last takes any."""
