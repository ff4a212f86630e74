"""How well scores find labelled anomalies: point-wise figures, average precision and VUS-PR."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .algorithm import Scores

_THRESHOLDS = 250  # operating points along the scores, as many as the authors' implementation takes


def report(scores: NDArray[Any], labels: NDArray[Any], threshold: float) -> dict[str, float | None]:
    """Every figure of (n,) scores against (n,) labels, where above 0 is anomalous; an alarm is a score above
    the threshold. None stands for what these rows cannot tell: without anomalies all but the false-alarm
    rate, without an alarm the precision.

    * precision, recall, f1, missed_alarm_rate (1 - recall): of rows; false_alarm_rate: of normal rows;
    * average_precision, vus_pr: whatever the threshold; vus_pr forgives a little earliness or lateness;
    * always_alarm_f1: the F1 of calling every row anomalous, the figure that f1 has to beat.

    >>> report(np.array([.1, .9, .8, .2]), np.array([0, 1, 0, 0]), 0.5)["precision"]
    0.5
    """
    values, truth = _checked(scores, labels)
    alarm = values > threshold
    hits = int((alarm & truth).sum())
    anomalies, alarms = int(truth.sum()), int(alarm.sum())
    normal = len(truth) - anomalies
    figures: dict[str, float | None] = dict.fromkeys(
        ("precision", "recall", "f1", "missed_alarm_rate", "average_precision", "vus_pr", "always_alarm_f1")
    )
    figures["false_alarm_rate"] = (alarms - hits) / normal if normal else None
    if not anomalies:
        return figures
    return figures | {
        "precision": hits / alarms if alarms else None,
        "recall": hits / anomalies,
        "f1": 2 * hits / (alarms + anomalies),
        "missed_alarm_rate": 1 - hits / anomalies,
        "average_precision": average_precision(values, truth),
        "vus_pr": vus_pr(values, truth),
        "always_alarm_f1": 2 * anomalies / (len(truth) + anomalies),
    }


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
    picks = np.linspace(0, len(values) - 1, _THRESHOLDS).astype(np.int64)
    cuts = -np.sort(-values)[picks]  # falling
    # A row is alarmed from its `first` cut on: the number of cuts above its score.
    first = np.searchsorted(-cuts, -values, side="left")
    alarms = np.cumsum(np.bincount(first, minlength=_THRESHOLDS))
    edges = np.diff(np.concatenate([[0], truth.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    areas = [_area(first, alarms, truth, starts, ends, buffer) for buffer in range(max_buffer + 1)]
    return float(np.mean(areas))


def _area(
    first: NDArray[np.int64],
    alarms: NDArray[np.int64],
    truth: NDArray[np.bool_],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    buffer: int,
) -> float:
    """The area under the range-based precision-recall curve for one buffer."""
    soft = _softened(truth, starts, ends, buffer)
    near = np.flatnonzero(soft)
    hits = np.cumsum(np.bincount(first[near], weights=soft[near], minlength=_THRESHOLDS))
    certain = truth.sum()
    found_certain = np.cumsum(np.bincount(first[truth], minlength=_THRESHOLDS))
    # Only the buffer that was alarmed counts as positive, and half of it: neither early nor late is required.
    positives = certain + (hits - found_certain) / 2
    recall = np.minimum(hits / positives, 1) * _found(first, starts, ends, buffer)
    return float((np.diff(recall, prepend=0) * hits / alarms).sum())


def _softened(
    truth: NDArray[np.bool_], starts: NDArray[np.int64], ends: NDArray[np.int64], buffer: int
) -> Scores:
    """Labels with a slope of half a buffer on either side of each range."""
    if buffer < 2:
        return truth.astype(np.float64)
    far = np.arange(1, buffer // 2 + 1)
    rows = np.concatenate([(ends[:, None] + far).ravel(), (starts[:, None] - far).ravel()])
    slope = np.tile(np.sqrt(1 - far / buffer), 2 * len(starts))
    inside = (rows >= 0) & (rows < len(truth))
    added = np.bincount(rows[inside], weights=slope[inside], minlength=len(truth))
    return np.minimum(truth + added, 1.0)


def _found(
    first: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64], buffer: int
) -> Scores:
    """At each cut, the share of ranges with an alarm in them or their buffers. Ranges that touch are one."""
    half = buffer // 2
    apart = ends[:-1] + half < starts[1:] - half
    begin = np.maximum(starts[np.append(True, apart)] - half, 0)
    end = np.minimum(ends[np.append(apart, True)] + half, len(first) - 1)
    edges = np.stack([begin, end + 1], axis=1).ravel()
    edges = edges[:-1] if edges[-1] == len(first) else edges
    earliest = np.minimum.reduceat(first, edges)[::2]
    return np.cumsum(np.bincount(earliest, minlength=_THRESHOLDS)) / len(begin)


def _checked(scores: NDArray[Any], labels: NDArray[Any]) -> tuple[Scores, NDArray[np.bool_]]:
    values, truth = np.asarray(scores, np.float64), np.asarray(labels)
    if values.ndim != 1 or values.shape != truth.shape:
        raise ValueError(f"scores {values.shape} and labels {truth.shape} must be one per row, of one length")
    if not np.isfinite(values).all():
        raise ValueError(f"score {int(np.flatnonzero(~np.isfinite(values))[0])} is not finite")
    return values, truth > 0
