"""Holes in rows: where a number is missing for longer than a detector bridges, where rows are taken out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from homeostat.models.alarms import lasting
from homeostat.models.fitted import Fitted
from homeostat.models.missing import Missing

Flags = NDArray[np.bool_]


def unanswered(rows: NDArray[Any], missing: Missing, segments: NDArray[np.int64] | None) -> Flags:
    """Which of (n, c) rows lack a number that the policy has no answer for, (n,)."""
    lacking: Flags = ~np.isfinite(rows)
    if missing.policy == "drop" or not lacking.any():
        return np.zeros(len(rows), bool)
    if missing.policy == "refuse":
        return np.asarray(lacking.any(axis=1))
    longer = [lasting(channel, missing.limit + 1, segments) for channel in lacking.T]
    return np.asarray(np.any(longer, axis=0))


def apart(segments: NDArray[np.int64], kept: Flags) -> NDArray[np.int64]:
    """(n,) segments in which a new one begins where rows are taken out, so that no window reaches across."""
    borders = np.cumsum(np.diff(kept.astype(int), prepend=0) != 0)
    return np.asarray(borders * (int(segments.max(initial=0)) + 1) + segments)


def scores(
    model: Fitted, rows: NDArray[Any], segments: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """(n,) scores of (n, c) rows. A row that the model would refuse, for want of a number, has the score of
    the one before it, as a row has that is dropped."""
    kept = ~unanswered(rows, model.preparation.missing, segments)
    if kept.all():
        return model.score(rows, segments)
    if not kept.any():
        return np.zeros(len(rows))
    borders = apart(np.zeros(len(rows), np.int64) if segments is None else segments, kept)
    found = model.score(rows[kept], borders[kept])
    return np.asarray(found[np.maximum(np.cumsum(kept) - 1, 0)])
