"""Lengths of time as manifests write them: Prometheus' and Go's `1h30m`, ISO 8601's `PT0.2S` (Knative)."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_ISO = re.compile(r"P(?:([0-9]+)D)?(?:T(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+(?:\.[0-9]+)?)S)?)?")


def parse_duration(value: object) -> timedelta:
    """`500ms`, `60s`, `1h30m`, `PT0.2S`, `P1DT2H`, or a timedelta as it is.

    Raises ValueError naming the value and the mend.
    """
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    if text == "0":
        return timedelta(0)
    try:
        if text and not _PART.sub("", text):
            return timedelta(seconds=sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(text)))
        iso = _ISO.fullmatch(text)
        if iso and any(iso.groups()):
            days, hours, minutes, seconds = (float(part or 0) for part in iso.groups())
            return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        raise ValueError(f"{text!r} is too long: write 1h30m, 30d and the like") from None
    raise ValueError(f"{text!r} is no duration: write 500ms, 60s, 10m, 1h30m, 1d or ISO 8601 such as PT0.2S")


def print_duration(value: timedelta) -> str:
    """The shortest spelling that `parse_duration` reads back to the same length (to the millisecond)."""
    left, parts = round(value.total_seconds() * 1000), []
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, int(_UNITS[unit] * 1000))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
