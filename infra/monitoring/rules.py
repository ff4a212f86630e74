"""The rules of Prometheus: written once, as a cluster's PrometheusRule, and read from it for one machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from homeostat.eventing.durations import parse_duration, print_duration

SOURCE = Path(__file__).parents[1] / "base" / "monitoring" / "rules.yaml"

SHORTEST = timedelta(seconds=1)
"""How often anything is scraped or evaluated, at most."""
FEWEST = 4
"""A rate needs two samples; one that is late must not leave it with one."""

_RANGE = re.compile(r"\[([0-9a-z]+)\]")
_OFFSET = re.compile(r"\boffset ([0-9a-z]+)")

Group = dict[str, Any]


def groups(scale: float = 1.0) -> list[Group]:
    """The groups of rules, every length of time in them `scale` times as long.

    Ranges stay long enough for `FEWEST` scrapes a second apart. Names of recorded series stay as they are,
    also where they tell a time.
    """
    document = yaml.safe_load(SOURCE.read_text())
    return [_group(one, scale) for one in document["spec"]["groups"]]


def scaled(text: str, scale: float, least: timedelta = timedelta(0)) -> str:
    """A duration so many times as long, as Prometheus writes it: `scaled("5m", 0.1)` is "30s"."""
    return print_duration(max(parse_duration(text) * scale, least))


def _group(group: Mapping[str, Any], scale: float) -> Group:
    interval = scaled(group.get("interval", "30s"), scale, SHORTEST)
    return {**group, "interval": interval, "rules": [_rule(one, scale) for one in group["rules"]]}


def _rule(rule: Mapping[str, Any], scale: float) -> dict[str, Any]:
    found = {**rule, "expr": _expression(rule["expr"], scale)}
    if "for" in rule:
        found["for"] = scaled(rule["for"], scale)
    if "labels" in rule:
        # By it the operator finds whose an alert is; on one machine there is nobody else.
        found["labels"] = {name: value for name, value in rule["labels"].items() if name != "namespace"}
    return found


def _expression(text: str, scale: float) -> str:
    ranged = _RANGE.sub(lambda found: f"[{scaled(found[1], scale, SHORTEST * FEWEST)}]", text)
    return _OFFSET.sub(lambda found: f"offset {scaled(found[1], scale)}", ranged)
