"""Rows from CSV and Parquet, checked against the columns that a Detector names.

Every fault of a file is told at once. A few rows without a number are dropped and counted; more of them, like
a missing column or a time that cannot be read, are faults.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from .localtime import to_utc
from .storage import MAX_BYTES, DataError, Fault, fetch, told
from .tables import FORMATS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MAX_BYTES", "DataError", "Facts", "Fault", "fingerprint", "inspect", "read"]

MAX_DROPPED = 0.05
"""The share of rows that may lack a number in some channel; such rows are dropped."""
_MAX_DUPLICATES = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a file holds: usable rows, their first and last time (UTC), rows `dropped` because a number or the
    time was missing, rows dropped as `duplicates` of a later one's time, all column names, and the
    `fingerprint` of the usable rows."""

    rows: int
    first: datetime
    last: datetime
    dropped: int
    duplicates: int
    columns: tuple[str, ...]
    fingerprint: str


def read(
    uri: str | Path,
    *,
    time: str,
    channels: Iterable[str],
    label: str | None = None,
    timezone: str | None = None,
    missing: str = "drop",
    root: str | Path | None = None,
    max_bytes: int = MAX_BYTES,
    max_dropped: float = MAX_DROPPED,
) -> pd.DataFrame:
    """The usable rows, in the file's order: `time` (UTC, timezone-aware; naive times are local to `timezone`,
    or UTC without one), the channels (float64, finite) and `label` if the file has it (1 above 0, else 0;
    int64, or float64 with NaN where some rows have none).

    With `missing` such as "hold:3" (see `missing.Missing`) rows without some number stay, NaN in its place.
    Of rows with one time the last is kept. Raises DataError with every fault, and OSError when the object is
    not there (yet). Memory: the file's bytes, at most `max_bytes`, and 8 per cell.
    """
    wanted = _Wanted(time, tuple(channels), label, timezone, missing.startswith("hold"))
    return _load(uri, wanted, root, max_bytes, max_dropped)[0]


def inspect(
    uri: str | Path,
    *,
    time: str,
    channels: Iterable[str],
    label: str | None = None,
    timezone: str | None = None,
    missing: str = "drop",
    root: str | Path | None = None,
    max_bytes: int = MAX_BYTES,
    max_dropped: float = MAX_DROPPED,
) -> Facts:
    """What `read` would find, with the same errors."""
    wanted = _Wanted(time, tuple(channels), label, timezone, missing.startswith("hold"))
    return _load(uri, wanted, root, max_bytes, max_dropped)[1]


def fingerprint(frame: pd.DataFrame) -> str:
    """`sha256:…` of names and values: the same rows from CSV and from Parquet have the same. Numbers count as
    float32, as the detectors see them."""
    import pandas as pd

    digest = hashlib.sha256()
    for name in frame.columns:
        column = frame[name]
        if isinstance(column.dtype, pd.DatetimeTZDtype) or column.dtype.kind == "M":
            values: Any = pd.to_datetime(column, utc=True).astype("datetime64[ns, UTC]").astype(np.int64)
        else:
            values = column.astype(np.float32) + 0.0  # -0 is 0
        cells = np.ascontiguousarray(values.to_numpy())
        digest.update(f"{len(str(name))}:{name}:{cells.dtype.str}:{len(cells)}:".encode())
        digest.update(cells.tobytes())
    return f"sha256:{digest.hexdigest()}"


@dataclass(frozen=True, slots=True)
class _Wanted:
    time: str
    channels: tuple[str, ...]
    label: str | None
    timezone: str | None
    holds: bool
    """Rows that lack a number are wanted too."""

    @property
    def names(self) -> tuple[str, ...]:
        return (self.time, *self.channels, *((self.label,) if self.label else ()))


@dataclass(slots=True)
class _Findings:
    """What turns up in the chunks: the first unreadable cell and the number of empty ones per column."""

    rows: int = 0
    unreadable: dict[str, Fault] = field(default_factory=dict)
    empty: dict[str, int] = field(default_factory=dict)


def _load(
    uri: str | Path, wanted: _Wanted, root: str | Path | None, max_bytes: int, max_dropped: float
) -> tuple[pd.DataFrame, Facts]:
    import pandas as pd

    suffix = PurePosixPath(str(uri)).suffix.lower()
    if suffix not in FORMATS:
        told(uri, root=root)  # not there, or outside the root: that comes first
        raise DataError(Fault("uri", repr(str(uri)), f"unknown kind of file: send {', '.join(FORMATS)}"))
    content = fetch(uri, root=root, max_bytes=max_bytes)
    if not content:
        raise DataError(Fault("uri", f"{str(uri)!r}, an empty file", "send a header and at least one row"))
    table = FORMATS[suffix](content, wanted.names, max_bytes)
    faults = _missing(table.columns, wanted)
    present = [name for name in wanted.names if name in table.columns]
    found = _Findings()
    parts = [_typed(chunk, wanted, found) for chunk in table.chunks(present)] if present else []
    faults += found.unreadable.values()
    if present and not found.rows:
        faults.append(Fault("rows", "0", "there is only a header: send at least one row"))
    if faults:
        raise DataError(*faults)
    frame = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0].reset_index(drop=True)
    if wanted.timezone:  # all at once, for the hour that autumn repeats may lie across two chunks
        try:
            frame[wanted.time] = to_utc(frame[wanted.time], wanted.timezone).times
        except ValueError as error:
            mend = "give the Detector an IANA name such as Europe/Berlin, or none for UTC"
            raise DataError(Fault("data.timezone", repr(wanted.timezone), mend)) from error
    return _usable(frame, wanted, found, max_dropped, table.columns)


def _missing(columns: tuple[str, ...], wanted: _Wanted) -> list[Fault]:
    """Columns that are not there, with the name that was probably meant; and those that are there twice."""
    alike = {_plain(name): name for name in columns}
    shown = ", ".join(map(repr, columns[:20])) + (", …" if len(columns) > 20 else "")
    faults = []
    for name in wanted.names:
        meant = alike.get(_plain(name))
        if columns.count(name) > 1:
            faults.append(Fault(f"column {name!r}", f"there {columns.count(name)} times", "keep one of them"))
        elif name not in columns and meant is not None:
            mend = f"did you mean {meant!r}? Rename it in the file or in the Detector's data section"
            faults.append(Fault(f"column {name!r}", "missing", mend))
        elif name not in columns and name != wanted.label:
            mend = f"add it, or correct the Detector's data section; the file has {shown}"
            faults.append(Fault(f"column {name!r}", "missing", mend))
    return faults


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-.]+", "", name).casefold()


def _typed(chunk: pd.DataFrame, wanted: _Wanted, found: _Findings) -> pd.DataFrame:
    """The chunk with times and numbers; what cannot be read goes into `found`."""
    import pandas as pd

    columns: dict[str, pd.Series[Any]] = {}
    for name in chunk.columns:
        raw = chunk[name]
        parsed = _times(raw) if name == wanted.time else _numbers(raw)
        wrong = np.flatnonzero((parsed.isna() & raw.notna()).to_numpy())
        if len(wrong) and name not in found.unreadable:
            mend = _TIME_MEND if name == wanted.time else _NUMBER_MEND
            where = f"{_shown(raw.iloc[int(wrong[0])])} in row {found.rows + int(wrong[0]) + 1}"
            found.unreadable[name] = Fault(f"column {name!r}", where, mend)
        empty = int(parsed.isna().sum())
        if empty:
            found.empty[name] = found.empty.get(name, 0) + empty
        columns[name] = raw if name == wanted.time and wanted.timezone else parsed
    found.rows += len(chunk)
    return pd.DataFrame(columns)


_TIME_MEND = "write times as ISO 8601, such as 2026-03-01T08:00:00Z"
_NUMBER_MEND = "write numbers with a decimal point, such as 1.5, and leave unknown ones empty"


def _times(raw: pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd

    if raw.dtype.kind in "biuf":  # seconds, milliseconds, days? A number does not tell.
        return pd.Series(pd.NaT, index=raw.index, dtype="datetime64[ns, UTC]")
    times = pd.to_datetime(raw, errors="coerce", format="ISO8601", utc=True)
    return times.astype("datetime64[ns, UTC]")


def _numbers(raw: pd.Series[Any]) -> pd.Series[Any]:
    """float64, NaN where there is no number."""
    import pandas as pd

    if raw.dtype.kind not in "biuf":
        raw = pd.to_numeric(raw.astype("string"), errors="coerce").astype("Float64")
    values = raw.to_numpy(np.float64, na_value=np.nan)
    return pd.Series(values, index=raw.index)


def _usable(
    frame: pd.DataFrame, wanted: _Wanted, found: _Findings, max_dropped: float, columns: tuple[str, ...]
) -> tuple[pd.DataFrame, Facts]:
    """Without the rows that lack something, and without duplicates. Raises DataError if that is too many."""
    numbers = frame[list(wanted.channels)]
    there = np.isfinite(numbers.to_numpy(np.float64))
    if wanted.holds:
        frame = frame.assign(
            **{name: frame[name].where(there[:, k]) for k, name in enumerate(wanted.channels)}
        )
    enough = there.any(axis=1) if wanted.holds else there.all(axis=1)
    whole = enough & frame[wanted.time].notna().to_numpy()
    dropped = int((~whole).sum())
    empty = found.empty | _infinite(numbers, found.empty)
    empty.pop(wanted.label or "", None)  # a row without a label is a row like any other
    if dropped > max_dropped * len(frame) or dropped == len(frame):
        mend = f"of {len(frame)} rows at most {max_dropped:.0%} may lack a value; repair the export"
        faults = [
            Fault(f"column {name!r}", f"empty or not finite in {n} rows", mend) for name, n in empty.items()
        ]
        raise DataError(*faults)
    kept = frame[whole]
    single = kept.drop_duplicates(wanted.time, keep="last").reset_index(drop=True)
    duplicates = len(kept) - len(single)
    if duplicates > _MAX_DUPLICATES * len(kept):
        value = f"the same in {duplicates} of {len(kept)} rows"
        raise DataError(Fault(f"column {wanted.time!r}", value, "give every row its own time"))
    if wanted.label in single:
        flags = single[wanted.label].gt(0).astype(np.int64)
        known = single[wanted.label].notna()
        single[wanted.label] = flags if known.all() else flags.where(known).astype(np.float64)
    times = single[wanted.time]
    return single, Facts(
        rows=len(single),
        first=times.min().to_pydatetime(warn=False),
        last=times.max().to_pydatetime(warn=False),
        dropped=dropped,
        duplicates=duplicates,
        columns=columns,
        fingerprint=fingerprint(single),
    )


def _infinite(numbers: pd.DataFrame, empty: Mapping[str, int]) -> dict[str, int]:
    count = np.isinf(numbers.to_numpy(np.float64)).sum(axis=0)
    return {str(name): empty.get(str(name), 0) + int(n) for name, n in zip(numbers, count, strict=True) if n}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
