"""Each channel's share in the scores of a request, for a client that asks why."""

from __future__ import annotations

import numpy as np

from .algorithm import Scores
from .features import windows
from .fitted import Fitted
from .micro_batching import Stretches


def contributions(fitted: Fitted, request: Stretches) -> Scores:
    """(n, c) shares of the channels in the scores of the n wanted rows: not negative, rows sum to 1."""
    scaled = fitted.scaler.transform(request.rows)
    parts = np.split(scaled, np.cumsum(request.lengths)[:-1])
    # As Fitted.score: what lies before the first row is taken to have been like it.
    padded = [np.concatenate([np.repeat(one[:1], fitted.window - 1, axis=0), one]) for one in parts]
    segments = np.repeat(np.arange(len(padded)), [len(one) for one in padded])
    every = windows(np.concatenate(padded), fitted.window, segments)
    return fitted.algorithm.contributions(every[request.wanted])
