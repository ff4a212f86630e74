"""What alarms are worth, whichever scores and threshold they come from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .affiliation import affiliation
from .event_wise import event_wise
from .point_adjusted import point_adjusted
from .range_based import range_based

Figures = dict[str, float | None]


def alarm_figures(alarms: NDArray[Any], labels: NDArray[Any], period: float | None = None) -> Figures:
    """The figures of `metrics.report` that need no scores, of (n,) alarms against (n,) labels. O(n).

    Those that these rows cannot tell are left out, or None.

    >>> alarm_figures(np.array([0, 1, 0]), np.array([0, 0, 0]))
    {'false_alarm_rate': 0.3333333333333333}
    """
    alarm, truth = np.asarray(alarms, np.bool_), np.asarray(labels) > 0
    hits, raised, anomalies = int((alarm & truth).sum()), int(alarm.sum()), int(truth.sum())
    normal = len(truth) - anomalies
    figures: Figures = {"false_alarm_rate": (raised - hits) / normal if normal else None}
    if period is not None and len(truth):
        figures["false_alarms_per_day"] = event_wise(alarm, truth).false_alarms_per_day(period)
    if not anomalies:
        return figures
    return {
        **figures,
        "precision": hits / raised if raised else None,
        "recall": hits / anomalies,
        "f1": 2 * hits / (raised + anomalies),
        "missed_alarm_rate": 1 - hits / anomalies,
        **_of_ranges(alarm, truth),
        **_of_events(alarm, truth, period),
        **_always(truth),
    }


def _of_ranges(alarm: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Figures:
    figures: Figures = {}
    for name, found in (("range", range_based(alarm, truth)), ("affiliation", affiliation(alarm, truth))):
        if found:
            figures[f"{name}_precision"] = found.precision
            figures[f"{name}_recall"] = found.recall
            figures[f"{name}_f1"] = found.f1
    adjusted = point_adjusted(alarm, truth)
    if adjusted:
        figures |= {"point_adjusted_f1": adjusted.f1, "point_adjusted_random_f1": adjusted.random_f1}
    return figures


def _of_events(alarm: NDArray[np.bool_], truth: NDArray[np.bool_], period: float | None) -> Figures:
    found = event_wise(alarm, truth)
    delays = {"delay_median": found.median_delay(), "delay_mean": found.mean_delay()}
    figures: Figures = {"events": float(found.events), "events_found": float(found.found), **delays}
    for name, rows in delays.items() if period is not None else ():
        figures[f"{name}_seconds"] = None if rows is None or period is None else rows * period
    return figures


def _always(truth: NDArray[np.bool_]) -> Figures:
    """What flagging every row reaches."""
    always = np.ones_like(truth)
    in_ranges, near = range_based(always, truth), affiliation(always, truth)
    share = float(truth.mean())
    return {
        "always_alarm_precision": share,
        "always_alarm_f1": 2 * share / (share + 1),
        "always_alarm_range_f1": in_ranges.f1 if in_ranges else None,
        "always_alarm_affiliation_f1": near.f1 if near else None,
    }
