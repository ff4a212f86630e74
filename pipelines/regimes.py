"""Which rows are of the world that the champion knows, and which came after it.

A run records, beside its artifact, the time of its latest row, held back or not (`until` in the provenance).
Rows after the champion's are the new regime: no part of its training had a chance to see them. The others are
the old one. So a retrain on the same batches has no new regime, and one after another batch has that batch.
Where the champion is from before this was recorded, the later half of the time is new. Rows that arrive late
with older times count as old: a regime is about when things happened.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from homeostat.models import artifact, shelf

UNTIL = "until"


def latest(times: pd.Series[Any]) -> str:
    """The latest of some times in UTC, as RFC 3339; empty where there are none."""
    return times.max().isoformat() if len(times) else ""


def recent(times: pd.Series[Any], champion: str) -> NDArray[np.bool_]:
    """Which of (n,) times in UTC are after all that the champion's run read; all are without a champion."""
    if not champion:
        return np.ones(len(times), bool)
    with shelf.reading(champion) as folder:
        until = str(artifact.manifest(folder).provenance.get(UNTIL) or "")
    if until:
        return np.asarray(times > pd.Timestamp(until), bool)
    middle = times.min() + (times.max() - times.min()) / 2
    return np.asarray(times > middle, bool)
