"""The best of several candidates, and what is told of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any


def pack(evaluation: Mapping[str, Any]) -> str:
    """The evaluation as text without quotes: kfp.local pastes list items into JSON as they are (2.16)."""
    return base64.b64encode(json.dumps(evaluation).encode()).decode()


def unpack(text: str) -> dict[str, Any]:
    """The evaluation that `pack` made."""
    return dict(json.loads(base64.b64decode(text, validate=True)))


def best(evaluations: Sequence[Mapping[str, Any]], gate: Mapping[str, Any]) -> Mapping[str, Any]:
    """The candidate with the highest `gate.metric` among those within the false-alarm budget; when none is,
    among all. One that could not be measured comes last. Raises ValueError when there is none at all.
    """
    if not evaluations:
        raise ValueError("no candidate was fitted: name at least one in spec.candidates")

    def rank(one: Mapping[str, Any]) -> tuple[bool, float]:
        alarms, value = one["metrics"].get("false_alarm_rate"), one["metrics"].get(gate["metric"])
        affordable = alarms is not None and alarms <= gate["max_false_alarm_rate"]
        return affordable, float("-inf") if value is None else float(value)

    return max(evaluations, key=rank)


def completed(
    run: str, judged: Mapping[str, Any], version: str, rows: int, fingerprint: str
) -> dict[str, Any]:
    """The data of `training.completed`, of what was found (`judging.found`) with its `report`."""
    chosen = judged["chosen"]
    told = {name: judged[name] for name in ("champion_metrics", "candidates", "comparison", "report")}
    told |= {name: chosen[name] for name in ("algorithm", "uri", "metrics", "judged_on")}
    return {**told, "run": run, "version": version, "rows": rows, "fingerprint": fingerprint}
