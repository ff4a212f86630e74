"""Metrics of rows that come in blocks, for as many counts of each block as are wanted, from sums per block.

A bootstrap asks for the same metric some hundred times. What a metric is made of adds up over blocks, so that
each block is counted once, and a resample is a product of matrices. Thresholds are those of all rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .metrics import THRESHOLDS, first_cut, slopes, touching
from .ranges import ranges

Counts = NDArray[Any]
Statistic = Callable[[Counts], NDArray[np.float64]]
"""From (r, b) counts of b blocks to the (r,) values of a metric, NaN where there are no anomalies."""


def f1(alarms: NDArray[Any], labels: NDArray[Any], blocks: NDArray[np.int64]) -> Statistic:
    """Of (n,) alarms against (n,) labels, each row in one of the (n,) blocks."""
    alarm, truth = np.asarray(alarms, bool), np.asarray(labels) > 0
    size = int(blocks.max(initial=0)) + 1
    hits = np.bincount(blocks[alarm & truth], minlength=size)
    both = np.bincount(blocks[alarm], minlength=size) + np.bincount(blocks[truth], minlength=size)
    events = np.bincount(blocks[truth], minlength=size)

    def of(counts: Counts) -> NDArray[np.float64]:
        return _where(counts @ events > 0, _ratio(2 * (counts @ hits), counts @ both))

    return of


def average_precision(scores: NDArray[Any], labels: NDArray[Any], blocks: NDArray[np.int64]) -> Statistic:
    """Of (n,) scores; as `metrics.average_precision`, O(r * n)."""
    truth = np.asarray(labels) > 0
    order = np.argsort(-np.asarray(scores), kind="stable")
    values = np.asarray(scores)[order]
    ends = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    of_row, anomalous = blocks[order], truth[order]

    def one(counts: NDArray[np.float64]) -> float:
        weights = counts[of_row]
        hits, raised = np.cumsum(weights * anomalous)[ends], np.cumsum(weights)[ends]
        if not hits[-1]:
            return float("nan")
        return float((np.diff(hits, prepend=0) * _ratio(hits, raised)).sum() / hits[-1])

    return lambda counts: np.array([one(row) for row in counts])


def vus_pr(
    scores: NDArray[Any], labels: NDArray[Any], blocks: NDArray[np.int64], max_buffer: int = 100
) -> Statistic:
    """Of (n,) scores; as `metrics.vus_pr`, which says what it is. A buffer counts with the block of its rows,
    and an event with the block in which it begins. Memory: 4 * max_buffer * blocks * thresholds bytes."""
    truth = np.asarray(labels) > 0
    size = int(blocks.max(initial=0)) + 1
    first = first_cut(np.asarray(scores, np.float64))
    starts, stops = ranges(truth)

    def tally(rows: NDArray[Any], cuts: NDArray[np.int64], worth: NDArray[Any] | None = None) -> Counts:
        """(b, thresholds): what of a block is above each cut."""
        flat = np.bincount(blocks[rows] * THRESHOLDS + cuts, worth, minlength=size * THRESHOLDS)
        summed: Counts = np.cumsum(flat.reshape(size, THRESHOLDS), axis=1)
        return summed.astype(np.float32)

    alarms = tally(np.arange(len(first)), first)
    certain = tally(np.flatnonzero(truth), first[truth])
    near = []
    for buffer in range(2, max_buffer + 1):
        rows, worth = slopes(truth, starts, stops - 1, buffer)
        near.append(tally(rows, first[rows], worth))
    found = []
    for half in range(max_buffer // 2 + 1):
        begins, earliest = touching(first, starts, stops - 1, half)
        found.append(tally(begins, earliest))

    def of(counts: Counts) -> NDArray[np.float64]:
        light = counts.astype(np.float32)
        raised, sure = light @ alarms, light @ certain
        events = [light @ one for one in found]
        shares = [_ratio(one, one[:, -1:]) for one in events]
        total = np.zeros(len(counts))
        for buffer in range(max_buffer + 1):
            beside = light @ near[buffer - 2] if buffer >= 2 else np.float32(0)
            hits = sure + beside
            recall = np.minimum(_ratio(hits, sure[:, -1:] + beside / 2), 1) * shares[buffer // 2]
            total += (np.diff(recall, axis=1, prepend=0) * _ratio(hits, raised)).sum(axis=1)
        return _where(sure[:, -1] > 0, total / (max_buffer + 1))

    return of


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[Any]:
    """0 where there is no whole."""
    return np.divide(
        part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape), part.dtype), where=whole > 0
    )


def _where(known: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[np.float64]:
    return np.where(known, values, np.nan).astype(np.float64)
