"""What drift detection needs of the training: made in the pipeline, shipped beside the model, never run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .choices import DriftStream
from .drift_files import Calibration
from .drift_part import Part, fit
from .drift_rows import LEAST_REFERENCE, checked
from .drift_season import known
from .drift_words import Settings
from .fitted import Fitted

__all__ = ["Calibration", "calibrate", "error_settings", "of_errors", "score_test"]

ERROR_ROWS, ERROR_EVERY = 200, 50
"""Labels are scarce: errors are tested on so many at most, that often at least."""


def calibrate(
    fitted: Fitted,
    rows: NDArray[Any],
    segments: NDArray[Any] | None = None,
    times: NDArray[Any] | None = None,
    *,
    settings: Settings,
    scores: NDArray[Any] | None = None,
    errors: NDArray[Any] | None = None,
) -> Calibration:
    """From (n, c) raw training rows that are normal, in order of time, and their (n,) segments; `times` (n,)
    in POSIX seconds, NaN or None where they are not known; `scores` (n,) the detector's own where they are
    known already; `errors` (m,) 0 or 1, whether an answer on labelled rows was wrong, in order of time
    (without them, the first that arrive stand in). Where nothing but the artifact is there,
    `fitted.reference` does for rows. An online test takes a dozen seconds, another one two at most.
    Raises ValueError for rows that are too few or not finite."""
    values = checked(rows, fitted.channels, "reference", LEAST_REFERENCE)
    moments = known(times, len(values))
    parts: dict[DriftStream, Part] = {}
    for on in settings.on:
        if on == "features":
            parts[on] = fit(settings.test, values, segments, moments, settings)
        elif on == "scores":
            own = fitted.score(values, segments) if scores is None else np.asarray(scores, np.float64)
            column = checked(own[:, None], ("score",), "scores", LEAST_REFERENCE)
            parts[on] = fit(score_test(settings), column, segments, moments, settings)
        elif errors is not None:
            parts[on] = of_errors(errors, settings)
    return Calibration(settings, fitted.channels, parts)


def score_test(settings: Settings) -> str:
    """One channel needs no kernel."""
    return "ks" if settings.test == "ks" else "cvm"


def of_errors(errors: NDArray[Any], settings: Settings) -> Part:
    """Raises ValueError for what is not 0 or 1, or too few of them."""
    column = checked(np.asarray(errors, np.float64)[:, None], ("error",), "errors", LEAST_REFERENCE)
    if not np.isin(column, (0.0, 1.0)).all():
        raise ValueError("errors must be 0 or 1: whether each answer was wrong")
    return fit("fisher", column, None, None, error_settings(settings))


def error_settings(settings: Settings) -> Settings:
    """Of other windows than rows; and more errors are never the slow change that a detector follows."""
    return replace(
        settings,
        window=min(settings.window, ERROR_ROWS),
        every=min(settings.every, ERROR_EVERY),
        follows=False,
        season=None,
    )
