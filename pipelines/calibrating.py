"""The drift tests of the best candidate, calibrated where its rows are and shipped in its folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np

from homeostat.eventing.durations import parse_duration
from homeostat.models.drift_calibration import calibrate
from homeostat.models.drift_words import Settings
from homeostat.models.fitted import Fitted

from . import gaps
from .taught import Training

log = logging.getLogger(__name__)


def drift_settings(spec: Mapping[str, Any]) -> Settings:
    """What a spec, as JSON, asks of drift detection (defaults for what an old one lacks)."""
    asked = {name: value for name, value in spec.get("drift", {}).items() if name in _SETTINGS}
    if "on" in asked:
        asked["on"] = tuple(asked["on"])
    if "season" in asked:
        asked["season"] = _seconds(asked["season"])
    return Settings(**asked, follows=int(spec["features"].get("baseline", 0)) > 0)


_SETTINGS = ("test", "p_value", "window", "every", "on", "correction", "expected_run_time", "season")


def _seconds(season: str | None) -> float | Literal["auto"] | None:
    if season is None or season == "auto":
        return season  # type: ignore[return-value]
    return parse_duration(season).total_seconds()


def ship_calibration(fitted: Fitted, training: Training, spec: Mapping[str, Any], folder: Path) -> bool:
    """Calibrate on the rows that the candidate learnt from, and put it beside its artifact.

    False, and nothing is written, where they are too few: the drift host says so when it serves.
    """
    rows, segments, phase = training.normal
    whole = np.isfinite(rows).all(axis=1)
    period: timedelta = parse_duration(spec["data"]["period"])
    settings = drift_settings(spec)
    scores = gaps.scores(fitted, rows, segments)[whole] if "scores" in settings.on else None
    try:
        found = calibrate(
            fitted,
            rows[whole],
            segments[whole],
            phase[whole] * period.total_seconds(),
            settings=settings,
            scores=scores,
        )
    except ValueError as error:
        log.warning("%s is not calibrated for drift: %s", folder, error)
        return False
    found.save(folder)
    return True
