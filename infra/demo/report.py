"""The demo's closing words: revisions, why each was promoted or stopped, and what the fresh one is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from homeostat.eventing.messages import (
    CanaryRolledBack,
    CanaryStarted,
    EvalFailed,
    EvalPassed,
    ModelPromoted,
    TrainingCompleted,
)
from homeostat.models.artifact import load
from homeostat.models.metrics import report
from homeostat.models.simulator import CHANNELS

from .story import Story
from .traffic import Traffic
from .watch import Seen

SHOWN = ("average_precision", "vus_pr", "f1", "always_alarm_f1", "false_alarm_rate", "missed_alarm_rate")


def quality(uri: str, story: Story) -> dict[str, float | None]:
    """Detection quality of one artifact on the later rows, which no model was trained on."""
    fitted = load(uri)
    scores = [fitted.score(frame[list(CHANNELS)].to_numpy(float)) for frame in story.later]
    labels = [frame["anomaly"].to_numpy(int) for frame in story.later]
    figures = report(np.concatenate(scores), np.concatenate(labels), fitted.threshold)
    return {name: figures.get(name) for name in SHOWN}


def closing(
    seen: Sequence[Seen],
    status: Mapping[str, Any],
    stale: Mapping[str, float | None],
    fresh: Mapping[str, float | None],
    seconds: Mapping[str, float],
    traffic: Traffic,
) -> dict[str, Any]:
    """The report as one document."""
    return {
        "events": [{"id": one.id, "type": one.type, "at": one.at, "data": one.data} for one in seen],
        "revisions": list(_revisions(seen).values()),
        "promoted": [one.data["revision"] for one in seen if one.type == ModelPromoted.type],
        "rolled_back": [one.data["revision"] for one in seen if one.type == CanaryRolledBack.type],
        "serving": status["serving"]["name"],
        "quality_stale": stale,
        "quality_fresh": fresh,
        "requests": {
            "sent": traffic.sent,
            "failed": traffic.failed,
            "before_the_first_revision": traffic.early,
            "by_revision": dict(traffic.by_revision),
        },
        "seconds": dict(seconds),
    }


def _revisions(seen: Sequence[Seen]) -> dict[str, dict[str, Any]]:
    revisions: dict[str, dict[str, Any]] = {}
    for one in seen:
        name = str(one.data.get("run") or one.data.get("revision"))
        if one.type == TrainingCompleted.type:
            revisions[name] = {
                "revision": name,
                "algorithm": one.data["algorithm"],
                "version": one.data["version"],
                "metrics": one.data["metrics"],
                "fate": "trained",
                "why": "",
            }
        elif name in revisions and one.type in _FATES:
            revisions[name] |= _FATES[one.type](one.data)
    return revisions


def _stopped(data: Mapping[str, Any]) -> dict[str, str]:
    failed = [gate for gate in data["gates"] if not gate["passed"]]
    return {"fate": "stopped at the gate", "why": "; ".join(map(_gate, failed))}


def _gate(gate: Mapping[str, Any]) -> str:
    measured = "not measured" if gate["measured"] is None else f"{gate['measured']:.3g}"
    return f"{gate['name']} {measured}, must be {gate['rule']} {gate['limit']:.3g}"


_FATES: Mapping[str, Callable[[Mapping[str, Any]], dict[str, str]]] = {
    EvalPassed.type: lambda data: {"fate": "passed", "why": "; ".join(map(_gate, data["gates"]))},
    EvalFailed.type: _stopped,
    CanaryStarted.type: lambda data: {"fate": "canary"},
    ModelPromoted.type: lambda data: {"fate": "promoted"},
    CanaryRolledBack.type: lambda data: {"fate": "rolled back", "why": data["reason"]},
}


def show(document: Mapping[str, Any], console: Console) -> None:
    """The report as tables."""
    table = Table("revision", "algorithm", "fate", "why", title="Revisions")
    for one in document["revisions"]:
        table.add_row(one["revision"], f"{one['algorithm']} v{one['version']}", one["fate"], one["why"])
    console.print("\n", table)
    table = Table("on the same later rows", *SHOWN, title="What the loop is worth")
    for name in ("stale", "fresh"):
        figures = document[f"quality_{name}"]
        table.add_row(name, *("-" if figures[one] is None else f"{figures[one]:.3f}" for one in SHOWN))
    console.print(table)
    table = Table("stage", "seconds")
    for stage, seconds in document["seconds"].items():
        table.add_row(stage, f"{seconds:.1f}")
    console.print(table)
    requests = document["requests"]
    served = requests["sent"] - requests["before_the_first_revision"]
    console.print(f"{served} requests were sent to a serving revision, {requests['failed']} failed.")
