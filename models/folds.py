"""Scores of windows that a detector was not fitted on, for all of its training windows.

Fitted rows flatter themselves, and holding a share of them back wastes it. Cross-fitting does neither: the
windows are parted into contiguous folds, and each fold is scored by a detector that was fitted on the others
(cross-conformal prediction, Vovk 2015; blocked, for neighbouring windows share rows: Burman et al. 1994).
The first and the last fold are judged from one side only, as the future will be, so a level that wanders
shows in their scores.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .algorithm import Algorithm, Float32Array, Scores

FOLDS = 4
_LEAST_SHARE = 1 / 3  # of the windows must be left to fit on
_MOST_FITTED = 8_000  # windows, evenly thinned: a fold tells about thresholds, not about the last digit


def out_of_fold(make: Callable[[], Algorithm], windows: Float32Array) -> Scores:
    """(n,) scores of (n, w, c) windows in order of time, each by a detector from `make` that saw none of it.

    Of the windows beside a fold, those that reach into it are left out. With too few windows for two folds
    they are scored by a detector that was fitted on all of them.
    """
    n, w, _ = windows.shape
    k = _folds(n, w)
    scores = np.empty(n)
    for fold in np.array_split(np.arange(n), k):
        first, last = int(fold[0]), int(fold[-1])
        rest = np.arange(n)
        if k > 1:
            rest = rest[(rest <= first - w) | (rest >= last + w)]
        one = make()
        one.fit(windows[_thinned(rest)])
        scores[first : last + 1] = one.score(windows[first : last + 1])
    return scores


def _folds(n: int, w: int) -> int:
    """As many folds as leave each detector enough to learn from; 1 when there is nothing to part."""
    enough = (k for k in range(FOLDS, 1, -1) if n - -(-n // k) - 2 * (w - 1) >= max(_LEAST_SHARE * n, 2))
    return next(enough, 1)


def _thinned(
    places: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    step = -(-len(places) // _MOST_FITTED)
    return places[::step]
