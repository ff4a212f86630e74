"""One labelled series, as a CSV file holds it: its time, its channels, and a column that tells anomalies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from homeostat.models.storage import DataError, Fault
from homeostat.models.tables import FORMATS

if TYPE_CHECKING:
    import pandas as pd

LABELS = ("anomaly", "is_anomaly", "label", "attack", "outlier", "y_true")
TIMES = ("datetime", "timestamp", "time", "date", "ds")
NO_CHANNELS = ("changepoint", "change_point", "unnamed: 0", "index", "id")
"""Columns that are known for what they are (in lower case), looked for in this order."""


@dataclass(frozen=True)
class Columns:
    """Which columns the user wants; None is found out from the names above, channels from what is left."""

    label: str | None = None
    time: str | None = None
    channels: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Series:
    """(n, c) `rows` in raw units, (n,) `labels`, `period` in seconds and (n,) `times` if the file tells them.

    Of the cells `held` had no number; the channel's last one stands in for them (the first one before it).
    """

    name: str
    channels: tuple[str, ...]
    rows: NDArray[np.float64]
    labels: NDArray[np.bool_]
    period: float | None
    times: NDArray[np.datetime64] | None
    held: int


def table(path: Path) -> pd.DataFrame:
    """The CSV file as it is, its separator found out. Raises DataError naming what makes it none."""
    import pandas as pd

    content = path.read_bytes()
    if not content:
        raise DataError(Fault(str(path), "an empty file", "give it a header and rows, or take it away"))
    opened = FORMATS[".csv"](content, (), len(content))
    try:
        return pd.concat(list(opened.chunks(list(opened.columns))), ignore_index=True)
    except DataError as error:
        raise DataError(
            *(Fault(f"{path}: {one.field}", one.value, one.mend) for one in error.faults)
        ) from None


def labelled(path: Path, name: str, columns: Columns) -> Series:
    """A series whose labels are a column of the file: above 0 is anomalous, and no value is normal.

    Raises DataError with every fault of the file.
    """
    frame = table(path)
    label = _chosen(frame, columns.label, LABELS)
    if label is None:
        wanted = repr(columns.label) if columns.label else " or ".join(map(repr, LABELS))
        mend = f"name it with --label; the file has {_listed(frame)}"
        raise DataError(Fault(f"{path}: the label column {wanted}", "missing", mend))
    flags = _numbers(frame, label)
    if np.isnan(flags).all():
        raise DataError(Fault(f"{path}: column {label!r}", "without a number", "write labels as 0 and 1"))
    return series(frame.drop(columns=label), path, name, columns, np.nan_to_num(flags) > 0)


def series(frame: pd.DataFrame, path: Path, name: str, columns: Columns, labels: NDArray[np.bool_]) -> Series:
    """The series in a frame whose (n,) labels are known. Raises DataError with every fault."""
    faults: list[Fault] = []
    clock = _chosen(frame, columns.time, TIMES)
    if columns.time and clock is None:
        mend = f"the file has {_listed(frame)}"
        faults.append(Fault(f"{path}: the time column {columns.time!r}", "missing", mend))
    channels = _channels(frame, columns, clock)
    absent = [one for one in channels if one not in frame.columns]
    has = f"the file has {_listed(frame)}"
    faults += [Fault(f"{path}: the channel {one!r}", "missing", has) for one in absent]
    if not channels:
        mend = f"name the channels with --channels; the file has {_listed(frame)}"
        faults.append(Fault(f"{path}: the number of columns with numbers", "0", mend))
    if faults:
        raise DataError(*faults)
    raw = np.stack([_numbers(frame, one) for one in channels], axis=1)
    blank = [one for one, lost in zip(channels, np.isnan(raw).all(axis=0), strict=True) if lost]
    if blank:
        mend = "leave it out with --channels"
        raise DataError(*(Fault(f"{path}: the channel {one!r}", "without a number", mend) for one in blank))
    times = stamps(frame, path, clock) if clock else None
    return Series(name, channels, _filled(raw), labels, _period(times), times, held=int(np.isnan(raw).sum()))


def stamps(frame: pd.DataFrame, path: Path, column: str) -> NDArray[np.datetime64]:
    """The (n,) times in a column, UTC. DataError names the first that cannot be read."""
    import pandas as pd

    raw = frame[column]
    unit: dict[str, Any] = {"unit": "s"} if raw.dtype.kind in "iuf" else {"format": "ISO8601"}
    times = pd.to_datetime(raw, errors="coerce", utc=True, **unit)
    if times.isna().any():
        row = int(times.isna().to_numpy().argmax())
        value = f"{str(raw.iloc[row])!r} in row {row + 1}"
        mend = "write times as ISO 8601 or as seconds since 1970, or name another column with --time"
        raise DataError(Fault(f"{path}: column {column!r}", value, mend))
    return times.dt.tz_localize(None).to_numpy("datetime64[ns]")


def _chosen(frame: pd.DataFrame, wanted: str | None, known: tuple[str, ...]) -> str | None:
    """The wanted column, or the first of the known names that the file has."""
    if wanted:
        return wanted if wanted in frame.columns else None
    there = {str(one).casefold(): str(one) for one in reversed(frame.columns)}
    return next((there[one] for one in known if one in there), None)


def _channels(frame: pd.DataFrame, columns: Columns, clock: str | None) -> tuple[str, ...]:
    if columns.channels:
        return columns.channels
    numeric = frame.select_dtypes("number").columns
    return tuple(str(one) for one in numeric if one != clock and str(one).casefold() not in NO_CHANNELS)


def _numbers(frame: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """(n,) float64, NaN where there is no finite number."""
    import pandas as pd

    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _filled(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    import pandas as pd

    return pd.DataFrame(rows).ffill().bfill().to_numpy(np.float64) if np.isnan(rows).any() else rows


def _period(times: NDArray[np.datetime64] | None) -> float | None:
    """The median step in seconds; None when the times do not say."""
    if times is None or len(times) < 2:
        return None
    step = float(np.median(np.diff(times).astype("timedelta64[ns]").astype(np.int64))) / 1e9
    return step if step > 0 else None


def _listed(frame: pd.DataFrame) -> str:
    shown = ", ".join(repr(str(one)) for one in frame.columns[:20])
    return shown + (", …" if len(frame.columns) > 20 else "")
