"""Champion and challenger on the same held-back rows, regime by regime, and how far each keeps its word."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homeostat.models import bootstrap
from homeostat.models.bootstrap import Answers
from homeostat.models.fitted import Fitted

from .held import Held, enough

Figures = dict[str, float | None]
Flags = NDArray[np.bool_]

REGIMES: tuple[str, ...] = ("old", "new")
BLOCK_WINDOWS = 4
"""How many windows a block of the bootstrap holds on average: rows that share a window hang together."""
MIN_EXPECTED = 5
"""Alarms by chance that calm rows have to promise before their rate is compared with what was asked for."""


def regime(held: Held, name: str) -> Flags:
    """Which of the held-back rows are of the old or of the new regime."""
    return held.recent if name == "new" else ~held.recent


def compare(candidate: Answers, champion: Answers, held: Held, spec: Mapping[str, Any]) -> dict[str, Figures]:
    """For each regime the gate's metric of both, their difference, between `low` and `high` at the gate's
    confidence; rows and anomalies. None is what cannot be told: few anomalies, or none, cannot judge."""
    return {name: _of(regime(held, name), candidate, champion, held, spec) for name in REGIMES}


def _of(rows: Flags, candidate: Answers, champion: Answers, held: Held, spec: Mapping[str, Any]) -> Figures:
    gate, labels = spec["gate"], held.labels[rows]
    told: Figures = dict.fromkeys(("candidate", "champion", "difference", "low", "high"))
    told |= {"rows": float(rows.sum()), "anomalies": float(labels.sum())}
    if not enough(labels, held.segments[rows]):
        return told
    found = bootstrap.compare(
        Answers(candidate.scores[rows], candidate.alarms[rows]),
        Answers(champion.scores[rows], champion.alarms[rows]),
        labels,
        gate["metric"],
        block=BLOCK_WINDOWS * int(spec["features"]["window"]),
        confidence=gate.get("confidence", 0.95),
    )
    if found:
        told |= {"candidate": found.candidate, "champion": found.champion, "difference": found.estimate}
        told |= {"low": found.low, "high": found.high}
    return told


def size_mb(folder: Path | str) -> float:
    """What the files of an artifact take, in 10^6 bytes."""
    return sum(one.stat().st_size for one in Path(folder).rglob("*") if one.is_file()) / 1e6


def calm(model: Fitted, held: Held) -> Flags:
    """Which held-back rows are normal, and see none that is not: a window with an anomaly may score high."""
    places = np.arange(len(held.labels))
    last = np.maximum.accumulate(np.where(held.labels, places, -1))
    begins = np.maximum.accumulate(np.where(np.diff(held.segments, prepend=-1) != 0, places, 0))
    seen = (last >= begins) & (places - last <= model.tail)
    return np.asarray(~held.labels & ~seen)


def calibration(model: Fitted, said: Answers, held: Held, nominal: float) -> float | None:
    """How many times its nominal rate a threshold is exceeded by calm rows that it has not seen: 1 keeps its
    word. None where there are too few such rows to tell."""
    rows = calm(model, held)
    if rows.sum() * nominal < MIN_EXPECTED:
        return None
    return float((said.scores[rows] > model.threshold).mean() / nominal)
