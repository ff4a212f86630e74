"""Each channel's share in the scores of a request, for a client that asks why."""

from __future__ import annotations

import numpy as np

from .algorithm import Scores
from .features import windows
from .fitted import Fitted
from .micro_batching import Stretches

_MOST_CELLS = 10_000_000  # of windows that are copied at once; 40 MB


def contributions(fitted: Fitted, request: Stretches) -> Scores:
    """(n, c) shares of the channels in the scores of the n wanted rows: not negative, rows sum to 1."""
    scaled = fitted.scaler.transform(request.rows)
    parts = np.split(scaled, np.cumsum(request.lengths)[:-1])
    # As Fitted.score: what lies before the first row is taken to have been like it.
    padded = [np.concatenate([np.repeat(one[:1], fitted.window - 1, axis=0), one]) for one in parts]
    # A view, in which windows across a border are passed over.
    every = windows(np.concatenate(padded), fitted.window)
    wanted = np.flatnonzero(request.wanted)
    places = wanted + (fitted.window - 1) * np.repeat(np.arange(len(parts)), request.lengths)[wanted]
    step = max(1, _MOST_CELLS // every[0].size)
    return np.concatenate(
        [
            fitted.algorithm.contributions(every[places[start : start + step]])
            for start in range(0, len(places), step)
        ]
    )
