"""A dashboard, a panel, and the queries that they have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["timeseries", "stat", "state-timeline", "table"]


@dataclass(frozen=True, slots=True)
class Panel:
    """`queries` by their legends. `$detector` stands for the Detectors that were chosen."""

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: Kind = "timeseries"
    width: int = 12
    text: str = ""


@dataclass(frozen=True, slots=True)
class Dashboard:
    uid: str
    title: str
    panels: tuple[Panel, ...]
    by_detector: bool = True


OF = 'detector=~"$detector"'
BY = "by (detector, revision)"


def rate(counter: str, by: str, where: str = "") -> str:
    return f"sum by ({by}) (rate({counter}{{{where}}}[$__rate_interval]))"


def quantile(q: float, histogram: str, by: str, where: str = "") -> str:
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', f'le, {by}', where)})"
