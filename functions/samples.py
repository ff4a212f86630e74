"""Rows of a stream as they came, checked against their Detector: every fault at once, by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from homeostat.eventing import codec
from homeostat.eventing.errors import Fault, Reject, shown
from homeostat.eventing.messages import KafkaRecord, SamplesReceived

from .spec import Spec

Row = Sequence[float | None]

MAX_ROWS = 10_000
"""Rows of one event: as many as the predictor takes at once."""
LONGEST_SERIES = 150
LONGEST_TIME = 64
MAX_FAULTS = 20
"""A whole batch of broken rows is told by its first faults and the number of the others."""


@dataclass(frozen=True, slots=True)
class Samples:
    """`rows` have the Detector's channels in its order; None is a number that is missing."""

    series: str
    rows: Sequence[Row]
    times: Sequence[str]


def read(event: SamplesReceived | KafkaRecord, spec: Spec, key: str | None = None) -> Samples:
    """The event's rows. A Kafka record is one row by the channels' names, or has SamplesReceived's fields.

    A series that the data does not name is the record's key. Numbers may be missing only where the Detector's
    `features.missing` holds others in their place. Raises Reject with every fault, by field.
    """
    if isinstance(event, SamplesReceived):
        samples, faults = _table(event, spec)
    elif "rows" in event.value and "rows" not in spec.data.channels:
        whole = codec.message(SamplesReceived, dict(event.value))
        assert isinstance(whole, SamplesReceived)  # noqa: S101 - of the kind that was asked for
        samples, faults = _table(whole, spec)
    else:
        samples, faults = _record(event.value, spec)
    samples = Samples(samples.series or key or "", samples.rows, samples.times)
    faults = [*faults, *_labels(samples)]
    if faults:
        raise Reject(_few(faults))
    return samples


def _record(value: Mapping[str, Any], spec: Spec) -> tuple[Samples, list[Fault]]:
    """One row; beside the channels only the columns that the Detector's data has anyway, and a series."""
    channels = spec.data.channels
    known = {*channels, spec.data.time, spec.data.label, "series"}
    faults = [
        Fault(f"data.{one}", "missing", f"send every channel: {', '.join(channels)}")
        for one in channels
        if one not in value
    ]
    faults += [
        Fault(f"data.{one[:80]}", shown(value[one], 40), f"is no channel; send {', '.join(channels)}")
        for one in value
        if one not in known
    ]
    row = [value[one] for one in channels if one in value]
    if not faults:
        faults += _broken(row, "data", channels, _gaps(spec))
    series = "" if "series" in channels else value.get("series", "")
    if not isinstance(series, str):
        faults.append(Fault("data.series", shown(series), "name the series by a text"))
        series = ""
    time = value.get(spec.data.time)
    return Samples(series, [row], () if time is None else (str(time),)), faults


def _table(event: SamplesReceived, spec: Spec) -> tuple[Samples, list[Fault]]:
    channels = event.channels or spec.data.channels
    faults = list(_misnamed(event.channels, spec.data.channels)) if event.channels else []
    if not 1 <= len(event.rows) <= MAX_ROWS:
        faults.append(Fault("data.rows", f"{len(event.rows)} rows", f"send 1 to {MAX_ROWS} rows at a time"))
    if event.times and len(event.times) != len(event.rows):
        mend = f"send one for each of the {len(event.rows)} rows, or none"
        faults.append(Fault("data.times", f"{len(event.times)} times", mend))
    if not faults:
        faults += _broken_rows(event.rows, channels, _gaps(spec))
    rows: Sequence[Row] = event.rows
    if not faults and channels != spec.data.channels:
        places = [channels.index(one) for one in spec.data.channels]
        rows = [[row[place] for place in places] for row in event.rows]
    return Samples(event.series, rows, event.times), faults


def _misnamed(given: Sequence[str], channels: Sequence[str]) -> Iterator[Fault]:
    mend = f"name each of {', '.join(channels)} once"
    for one in channels:
        if one not in given:
            yield Fault("data.channels", f"without {shown(one, 40)}", mend)
    for place, one in enumerate(given):
        if one not in channels:
            yield Fault(f"data.channels.{place}", shown(one, 40), f"is no channel; {mend}")
        elif one in given[:place]:
            yield Fault(f"data.channels.{place}", shown(one, 40), f"is named twice; {mend}")


def _broken_rows(rows: Sequence[Any], channels: Sequence[str], gaps: bool) -> list[Fault]:
    faults: list[Fault] = []
    for place, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(channels):
            mend = f"send {len(channels)} numbers: {', '.join(channels)}"
            faults.append(Fault(f"data.rows.{place}", shown(row, 40), mend))
        else:
            faults += _broken(row, f"data.rows.{place}", channels, gaps)
    return faults


def _broken(row: Sequence[Any], where: str, channels: Sequence[str], gaps: bool) -> list[Fault]:
    return [
        Fault(f"{where}.{channel}", shown(value, 40), "send a finite number" + (" or null" if gaps else ""))
        for channel, value in zip(channels, row, strict=True)
        if not (_is_number(value) or (gaps and value is None))
    ]


def _is_number(value: object) -> bool:
    # A whole number may be too long for a float; true and false are no numbers here.
    kind = type(value)
    return (kind is float and isfinite(value)) or (kind is int and abs(value) < 1 << 1000)  # type: ignore[arg-type]


def _labels(samples: Samples) -> Iterator[Fault]:
    if len(samples.series) > LONGEST_SERIES or not samples.series.isprintable():
        mend = f"name the series by at most {LONGEST_SERIES} printable characters"
        yield Fault("data.series", shown(samples.series), mend)
    for place, time in enumerate(samples.times):
        if len(time) > LONGEST_TIME:
            yield Fault(f"data.times.{place}", shown(time), f"send at most {LONGEST_TIME} characters")


def _gaps(spec: Spec) -> bool:
    return spec.features.missing != "drop"


def _few(faults: Sequence[Fault]) -> list[Fault]:
    if len(faults) <= MAX_FAULTS:
        return list(faults)
    rest = Fault("data", f"{len(faults) - MAX_FAULTS} more faults", "mend those above; the others are alike")
    return [*faults[:MAX_FAULTS], rest]
