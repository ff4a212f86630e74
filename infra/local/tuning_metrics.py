"""Metrics read as Katib's collectors read them: StdOut and File, as text or as JSON lines.

https://github.com/kubeflow/katib/blob/master/pkg/metricscollector/v1beta1/file-metricscollector
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from homeostat.eventing.errors import Fault, shown

DEFAULT_FILTER = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"
DEFAULT_PATH = "/var/log/katib/metrics.log"
UNAVAILABLE = "unavailable"
_NO_TIME = datetime(1, 1, 1, tzinfo=UTC)


class Unreadable(Exception):
    """The metrics file is not in its format; Katib's collector ends the trial then."""


@dataclass(frozen=True)
class Collector:
    """`path` is the file of the File collector, as the manifest has it; None reads what the trial prints."""

    path: str | None
    json: bool
    filters: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reported:
    time: datetime
    name: str
    value: str


def collector(spec: Mapping[str, Any], names: Sequence[str], faults: list[Fault]) -> Collector:
    """How an Experiment's metrics are collected; what is wrong with it is added to the faults."""
    given = spec.get("metricsCollectorSpec") or {}
    path = "spec.metricsCollectorSpec"
    kind = (given.get("collector") or {}).get("kind") or "StdOut"
    if kind not in ("StdOut", "File"):
        faults.append(Fault(f"{path}.collector.kind", shown(kind), "one machine has StdOut and File"))
    source = given.get("source") or {}
    filters = tuple((source.get("filter") or {}).get("metricsFormat") or (DEFAULT_FILTER,))
    for place, one in enumerate(filters):
        if not _takes_two(one):
            mend = "give a regular expression with two groups, the metric's name and its value"
            faults.append(Fault(f"{path}.source.filter.metricsFormat[{place}]", shown(one), mend))
    file = source.get("fileSystemPath") or {}
    if (form := file.get("format") or "TEXT") not in ("TEXT", "JSON"):
        faults.append(Fault(f"{path}.source.fileSystemPath.format", shown(form), "use TEXT or JSON"))
    where = str(file.get("path") or DEFAULT_PATH) if kind == "File" else None
    if where and not where.startswith("/"):
        faults.append(Fault(f"{path}.source.fileSystemPath.path", shown(where), "give an absolute path"))
    return Collector(where, kind == "File" and form == "JSON", filters, tuple(names))


def _takes_two(pattern: str) -> bool:
    try:
        return re.compile(pattern).groups >= 2
    except re.error:
        return False


@dataclass
class Reading:
    """What one trial has reported so far. Reads only what is new, a whole line at a time."""

    collector: Collector
    file: Path
    reported: list[Reported] = field(default_factory=list)
    _offset: int = 0

    def more(self, *, last: bool = False) -> None:
        """Read on; `last` takes an unfinished line as well. Raises Unreadable."""
        try:
            with self.file.open("rb") as log:
                log.seek(self._offset)
                data = log.read()
        except FileNotFoundError:
            return
        if not last:
            data = data[: data.rfind(b"\n") + 1]
        self._offset += len(data)
        read: Callable[[str, Collector], Iterator[Reported]] = _json if self.collector.json else _text
        for line in data.decode(errors="replace").split("\n"):
            self.reported += read(line, self.collector)

    def of(self, name: str) -> list[float]:
        """The numbers reported of a metric, in their order."""
        found = (_number(one.value) for one in self.reported if one.name == name)
        return [one for one in found if one is not None]

    def observation(self, names: Sequence[str]) -> list[dict[str, str]]:
        """Katib's observation: of each metric the least, the largest and the latest value, as reported."""
        return [_summary(name, [one for one in self.reported if one.name == name]) for name in names]


def _text(line: str, how: Collector) -> Iterator[Reported]:
    if not any(name in line for name in how.names):
        return
    time = _time(line.split(" ", 1)[0]) or _NO_TIME
    for pattern in how.filters:
        for match in re.finditer(pattern, line):
            name = (match[1] or "").strip()
            if name in how.names:
                yield Reported(time, name, (match[2] or "").strip())


def _json(line: str, how: Collector) -> Iterator[Reported]:
    if not line.strip():
        return
    try:
        document = json.loads(line)
    except ValueError as error:
        raise Unreadable(f"a line of the metrics file is no JSON: {shown(line)}: {error}") from None
    if not isinstance(document, dict):
        raise Unreadable(f"a line of the metrics file is no JSON object: {shown(line)}")
    told = document.get("timestamp")
    if isinstance(told, int | float) and not isinstance(told, bool):
        time = datetime.fromtimestamp(told, UTC)
    else:
        time = _time(told if isinstance(told, str) else "") or _NO_TIME
    for name in how.names:
        # Katib takes values that are written as text, and no numbers.
        if isinstance(value := document.get(name), str):
            yield Reported(time, name, value)


def _time(text: str) -> datetime | None:
    if not re.match(r"\d{4}-\d\d-\d\dT", text):
        return None
    try:
        # Nanoseconds are more than datetime takes.
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        return None
    return found if found.tzinfo else None


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return None if math.isnan(found) else found


def _summary(name: str, reported: Sequence[Reported]) -> dict[str, str]:
    found = {"name": name, "min": UNAVAILABLE, "max": UNAVAILABLE, "latest": UNAVAILABLE}
    if numbers := [(number, one.value) for one in reported if (number := _number(one.value)) is not None]:
        found["min"] = min(numbers, key=lambda one: one[0])[1]
        found["max"] = max(numbers, key=lambda one: one[0])[1]
    if reported:
        latest = max(one.time for one in reported)
        found["latest"] = [one.value for one in reported if one.time == latest][-1]
    return found


def chosen(metrics: Sequence[Mapping[str, str]], name: str, strategy: str) -> float | None:
    """The value of a metric that counts, by its strategy: min, max or latest."""
    for one in metrics:
        if one["name"] == name:
            value = one[strategy] if one[strategy] != UNAVAILABLE else one["latest"]
            return _number(value)
    return None
