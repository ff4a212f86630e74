"""Times as people write them become UTC: zones, the hour that autumn repeats and the one spring lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

_WITH_OFFSET = r"\d[T ]\d.*(?:[Zz]|[+-]\d\d(?::?\d\d)?)$"  # an ISO 8601 time that names its own offset


@dataclass(frozen=True)
class Utc:
    """(n,) `times` in UTC, to the nanosecond, NaT where one cannot be read; and how many of them were local
    times that happen twice (`repeated`) or never (`skipped`)."""

    times: pd.Series[pd.Timestamp]
    repeated: int
    skipped: int


def to_utc(raw: pd.Series[Any], timezone: str | None = None) -> Utc:
    """Reads ISO 8601 texts or datetimes. One with an offset of its own keeps it; a naive one is local to
    `timezone`, an IANA name such as "Europe/Berlin", or UTC without one.

    Of rows with one local time within the hour that autumn repeats, the first is taken for the first pass
    and the rest for the second: a regular log is told apart entirely, and a lone row belongs to the first.
    A local time within the hour that spring leaves out is read as from a clock that was not put forward yet
    (both are PEP 495's `fold`). Numbers are unreadable: seconds, milliseconds, days? A number does not tell.

    Raises ValueError for an unknown time zone.

    >>> import pandas as pd
    >>> autumn = pd.Series(["2025-10-26T02:30:00", "2025-10-26T02:30:00", "2025-10-26T03:30:00"])
    >>> to_utc(autumn, "Europe/Berlin").times.dt.strftime("%H:%M").tolist()
    ['00:30', '01:30', '02:30']
    """
    import pandas as pd

    zone = _zone(timezone)
    if isinstance(raw.dtype, pd.DatetimeTZDtype):
        return Utc(raw.dt.tz_convert("UTC").dt.as_unit("ns"), 0, 0)
    if raw.dtype.kind in "biuf":
        return Utc(pd.Series(pd.NaT, index=raw.index, dtype="datetime64[ns, UTC]"), 0, 0)
    stamps = pd.to_datetime(raw, errors="coerce", format="ISO8601", utc=True).dt.as_unit("ns")
    if zone is None:
        return Utc(stamps, 0, 0)
    naive = stamps.notna().to_numpy()
    if raw.dtype.kind != "M":
        offset = raw.astype("string").str.contains(_WITH_OFFSET, regex=True, na=False)
        naive &= ~offset.to_numpy(np.bool_)
    times = pd.DatetimeIndex(stamps).to_numpy("datetime64[ns]").copy()
    times[naive], repeated, skipped = _from_local(pd.DatetimeIndex(times[naive]), zone)
    return Utc(pd.Series(times, raw.index).dt.tz_localize("UTC"), repeated, skipped)


def _zone(name: str | None) -> ZoneInfo | None:
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(
            f"timezone is {name!r}: give an IANA name such as Europe/Berlin, or leave it out for UTC"
        ) from error


def _from_local(local: pd.DatetimeIndex, zone: ZoneInfo) -> tuple[NDArray[np.datetime64], int, int]:
    """Naive local times in UTC, how many of them happen twice, and how many never."""
    import pandas as pd

    found = local.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").tz_convert("UTC")
    times = found.to_numpy("datetime64[ns]").copy()
    unsure = np.flatnonzero(found.isna())  # a few hours a year
    stamps = local[unsure]
    offsets = np.array(
        [
            [zone.utcoffset(one.to_pydatetime(warn=False).replace(fold=fold)) for fold in (0, 1)]
            for one in stamps
        ],
        "timedelta64[ns]",
    ).reshape(-1, 2)
    twice = offsets[:, 0] > offsets[:, 1]  # the clock was put back, and its second pass is the later
    again = pd.Series(stamps).groupby(stamps).cumcount().to_numpy() > 0
    times[unsure] = stamps.to_numpy() - np.where(twice & again, offsets[:, 1], offsets[:, 0])
    return times, int(twice.sum()), int((~twice).sum())
