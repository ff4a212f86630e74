"""How well scores find labelled anomalies: every figure in one report, average precision and VUS-PR."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .alarm_figures import alarm_figures
from .algorithm import Scores
from .ranges import ranges

THRESHOLDS = 250  # operating points along the scores, as many as the authors' implementation takes

FIGURES = (
    *("precision", "recall", "f1", "false_alarm_rate", "missed_alarm_rate", "average_precision", "vus_pr"),
    *("range_precision", "range_recall", "range_f1"),
    *("affiliation_precision", "affiliation_recall", "affiliation_f1"),
    *("events", "events_found", "delay_median", "delay_mean", "delay_median_seconds", "delay_mean_seconds"),
    *("false_alarms_per_day", "point_adjusted_f1", "point_adjusted_random_f1"),
    *("always_alarm_precision", "always_alarm_f1", "always_alarm_range_f1", "always_alarm_affiliation_f1"),
)
"""The keys of every report, whatever its rows could tell."""


def report(
    scores: NDArray[Any], labels: NDArray[Any], threshold: float, *, period: float | None = None
) -> dict[str, float | None]:
    """Every figure of (n,) scores against (n,) labels, where above 0 is anomalous; an alarm is a score above
    the threshold. `period` is the seconds from row to row. None stands for what these rows cannot tell:
    without anomalies all but false alarms, without an alarm the precisions, without a period what is counted
    in seconds and days.

    * precision, recall, f1, missed_alarm_rate (1 - recall): of rows; false_alarm_rate: of normal rows;
    * average_precision, vus_pr: whatever the threshold; vus_pr forgives a little earliness or lateness;
    * range_precision, _recall, _f1: of ranges (`range_based`); affiliation_precision, _recall, _f1: by
      distance in time (`affiliation`);
    * events, events_found, delay_median, delay_mean (rows), the same in _seconds, false_alarms_per_day
      (`event_wise`);
    * point_adjusted_f1, and point_adjusted_random_f1 of as many alarms at random (`point_adjusted`);
    * always_alarm_f1, _precision, _range_f1, _affiliation_f1: what calling every row anomalous reaches, the
      figures that the others have to beat.

    >>> report(np.array([.1, .9, .8, .2]), np.array([0, 1, 0, 0]), 0.5)["precision"]
    0.5
    """
    values, truth = _checked(scores, labels)
    figures: dict[str, float | None] = dict.fromkeys(FIGURES)
    figures |= alarm_figures(values > threshold, truth, period)
    if truth.any():
        figures["average_precision"] = average_precision(values, truth)
        figures["vus_pr"] = vus_pr(values, truth)
    return figures


def average_precision(scores: NDArray[Any], labels: NDArray[Any]) -> float | None:
    """The precision at each distinct score, weighted by the recall gained there, as scikit-learn has it.
    Scores that say nothing reach the share of anomalies. None without anomalies.

    >>> average_precision(np.array([.9, .8, .7, .6]), np.array([1, 0, 1, 0]))
    0.8333333333333333
    """
    values, truth = _checked(scores, labels)
    if not truth.any():
        return None
    order = np.argsort(-values, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(values[order])), len(values) - 1)  # ties count as one step
    hits = np.cumsum(truth[order])[ends]
    gained = np.diff(hits, prepend=0) / truth.sum()
    return float((gained * hits / (ends + 1)).sum())


def vus_pr(scores: NDArray[Any], labels: NDArray[Any], max_buffer: int = 100) -> float | None:
    """Volume under the surface of range-based precision and recall (Paparrizos et al., VLDB 2022).

    Around each labelled range a buffer is added, half of it on either side, where the label falls from 1
    with the root of the distance; recall is weighted by the share of ranges found at all. The area under
    the precision-recall curve is averaged over buffers of 0 to `max_buffer` rows. In [0, 1]; None without
    anomalies. Equals the authors' implementation (TheDatumOrg/VUS, version "opt", `max_buffer` being its
    `slidingWindow`) in O(max_buffer * n) instead of O(thresholds * max_buffer * n).

    >>> vus_pr(np.array([0., 0., 1., 1., 0.]), np.array([0, 0, 1, 1, 0]), max_buffer=0)
    1.0
    """
    values, truth = _checked(scores, labels)
    if not truth.any():
        return None
    if max_buffer < 0:
        raise ValueError(f"max_buffer is {max_buffer}: give 0 rows or more")
    first = first_cut(values)
    alarms = np.cumsum(np.bincount(first, minlength=THRESHOLDS))
    starts, stops = ranges(truth)
    ends = stops - 1
    hits = np.cumsum(np.bincount(first[truth], minlength=THRESHOLDS))
    halves = range(max_buffer // 2 + 1)
    found = {half: _found(first, starts, ends, half) for half in halves}
    areas = [
        _area(alarms, hits, _near(first, truth, starts, ends, buffer), found[buffer // 2])
        for buffer in range(max_buffer + 1)
    ]
    return float(np.mean(areas))


def first_cut(scores: Scores) -> NDArray[np.int64]:
    """The cut, of THRESHOLDS falling ones, from which on each of (n,) scores is alarmed."""
    picks = np.linspace(0, len(scores) - 1, THRESHOLDS).astype(np.int64)
    cuts = -np.sort(-scores)[picks]
    return np.asarray(np.searchsorted(-cuts, -scores, side="left"))


def _area(
    alarms: NDArray[np.int64], certain: NDArray[np.int64], near: Scores | float, found: Scores
) -> float:
    """The area under the range-based precision-recall curve for one buffer: at each cut `alarms` rows are
    alarmed, `certain` of them in labelled ranges, others in the buffers worth `near`, and a share `found` of
    the ranges is met."""
    hits = certain + near
    # Only the buffer that was alarmed counts as positive, and half of it: neither early nor late is required.
    recall = np.minimum(hits / (certain[-1] + near / 2), 1) * found
    return float((np.diff(recall, prepend=0) * hits / alarms).sum())


def _near(
    first: NDArray[np.int64],
    truth: NDArray[np.bool_],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    buffer: int,
) -> Scores | float:
    """At each cut, the worth of alarmed rows in the slopes of half a buffer on either side of each range."""
    if buffer < 2:
        return 0.0
    sloped, worth = slopes(truth, starts, ends, buffer)
    return np.cumsum(np.bincount(first[sloped], weights=worth, minlength=THRESHOLDS))


def slopes(
    truth: NDArray[np.bool_], starts: NDArray[np.int64], ends: NDArray[np.int64], buffer: int
) -> tuple[NDArray[np.int64], Scores]:
    """The rows beside ranges to which a buffer of 2 rows or more gives a worth, and which: (m,) each."""
    far = np.arange(1, buffer // 2 + 1)
    rows = np.concatenate([(ends[:, None] + far).ravel(), (starts[:, None] - far).ravel()])
    slope = np.tile(np.sqrt(1 - far / buffer), 2 * len(starts))
    outside = (rows >= 0) & (rows < len(truth))
    outside[outside] = ~truth[rows[outside]]
    worth = np.minimum(np.bincount(rows[outside], weights=slope[outside], minlength=len(truth)), 1.0)
    sloped = np.flatnonzero(worth)
    return sloped, worth[sloped]


def _found(first: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64], half: int) -> Scores:
    """At each cut, the share of ranges with an alarm in them or `half` a buffer around."""
    begin, earliest = touching(first, starts, ends, half)
    return np.cumsum(np.bincount(earliest, minlength=THRESHOLDS)) / len(begin)


def touching(
    first: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64], half: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first labelled row of each range and the earliest cut that meets it, or `half` a buffer around it:
    (m,) each. Ranges that touch are one."""
    apart = ends[:-1] + half < starts[1:] - half
    begin = np.maximum(starts[np.append(True, apart)] - half, 0)
    end = np.minimum(ends[np.append(apart, True)] + half, len(first) - 1)
    edges = np.stack([begin, end + 1], axis=1).ravel()
    edges = edges[:-1] if edges[-1] == len(first) else edges
    return starts[np.append(True, apart)], np.minimum.reduceat(first, edges)[::2]


def _checked(scores: NDArray[Any], labels: NDArray[Any]) -> tuple[Scores, NDArray[np.bool_]]:
    values, truth = np.asarray(scores, np.float64), np.asarray(labels)
    if values.ndim != 1 or values.shape != truth.shape:
        raise ValueError(f"scores {values.shape} and labels {truth.shape} must be one per row, of one length")
    if not np.isfinite(values).all():
        raise ValueError(f"score {int(np.flatnonzero(~np.isfinite(values))[0])} is not finite")
    return values, truth > 0
