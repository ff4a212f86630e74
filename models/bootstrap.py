"""How sure the difference of two models is, from the same rows: a paired stationary block bootstrap.

Rows of a time series hang together, so that resampling them one by one would make every interval too
narrow. Blocks of rows of random length are drawn instead (Politis & Romano, "The Stationary Bootstrap", JASA
1994), the same ones for both models: what is hard for both leaves the difference alone. No event is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import metrics, tallies
from .alarm_figures import alarm_figures

Metric = Literal["vus_pr", "average_precision", "f1"]
RESAMPLES = 400
ATOMS = 128
"""Of so many pieces, all of about as many rows, blocks are made."""
_LEAST_BLOCKS = 5
"""Blocks are never so long that fewer of them fill the rows: an interval from two or three says nothing."""
_LEAST_EVENTS = 3
"""Of a single event, however often it is drawn, every resample says the same."""


@dataclass(frozen=True)
class Answers:
    """What one model said of n rows: (n,) scores, and which of them raised an alarm, (n,)."""

    scores: NDArray[np.float64]
    alarms: NDArray[np.bool_]


@dataclass(frozen=True)
class Difference:
    """A metric of both, candidate less champion, and between `low` and `high` the difference that other rows
    of the kind would show; these two are None where too few events are there to say."""

    candidate: float
    champion: float
    low: float | None
    high: float | None

    @property
    def estimate(self) -> float:
        return self.candidate - self.champion


_VALUES: Mapping[Metric, Callable[[Answers, NDArray[np.bool_]], float | None]] = MappingProxyType(
    {
        "vus_pr": lambda one, labels: metrics.vus_pr(one.scores, labels),
        "average_precision": lambda one, labels: metrics.average_precision(one.scores, labels),
        "f1": lambda one, labels: alarm_figures(one.alarms, labels).get("f1"),
    }
)
_STATISTICS: Mapping[Metric, Callable[[Answers, NDArray[np.bool_], NDArray[np.int64]], tallies.Statistic]] = (
    MappingProxyType(
        {
            "vus_pr": lambda one, labels, blocks: tallies.vus_pr(one.scores, labels, blocks),
            "average_precision": lambda one, labels, blocks: tallies.average_precision(
                one.scores, labels, blocks
            ),
            "f1": lambda one, labels, blocks: tallies.f1(one.alarms, labels, blocks),
        }
    )
)


def compare(
    candidate: Answers,
    champion: Answers,
    labels: NDArray[Any],
    metric: Metric,
    *,
    block: int,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference | None:
    """The difference on n rows with (n,) labels, above 0 for anomalies; None without any. `block` is the mean
    length of a block in rows: take some windows' worth. Deterministic by `seed`.

    Percentiles of `resamples` differences. On 10,000 rows VUS-PR takes 1 s and 50 MB, the others less.
    """
    truth = np.asarray(labels) > 0
    ours, theirs = (_VALUES[metric](one, truth) for one in (candidate, champion))
    if ours is None or theirs is None:
        return None
    atoms = pieces(truth)
    if len(np.unique(atoms[truth])) < _LEAST_EVENTS:
        return Difference(ours, theirs, None, None)
    size = int(atoms[-1]) + 1
    mean_length = min(block, len(truth) / _LEAST_BLOCKS) * size / len(truth)
    counts = draws(size, max(1.0, mean_length), resamples, seed)
    of_each = [_STATISTICS[metric](one, truth, atoms)(counts) for one in (candidate, champion)]
    differences = of_each[0] - of_each[1]
    known = differences[np.isfinite(differences)]  # those that drew an anomaly
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Difference(ours, theirs, float(low), float(high))


def pieces(truth: NDArray[np.bool_], most: int = ATOMS) -> NDArray[np.int64]:
    """The piece that each of (n,) rows belongs to, rising from 0; no event lies in two.

    >>> pieces(np.array([0, 0, 1, 1, 0, 0], bool), most=2).tolist()
    [0, 0, 0, 0, 0, 0]
    """
    edges = np.unique(np.linspace(0, len(truth), most + 1).astype(np.int64))[1:-1]
    edges = edges[~(truth[edges - 1] & truth[edges])]
    begins = np.zeros(len(truth), np.int64)
    begins[edges] = 1
    return np.cumsum(begins)


def draws(size: int, mean_length: float, resamples: int, seed: int) -> NDArray[np.float64]:
    """(resamples, size): how often each of `size` pieces is drawn, in runs that are `mean_length` pieces long
    on average and go on at the beginning after the last."""
    rng = np.random.default_rng(seed)
    place = np.arange(size)
    anew = rng.random((resamples, size)) < 1 / mean_length
    anew[:, 0] = True
    begun = np.maximum.accumulate(np.where(anew, place, 0), axis=1)
    starts = np.take_along_axis(rng.integers(0, size, (resamples, size)), begun, axis=1)
    drawn = (starts + place - begun) % size
    flat = (np.arange(resamples)[:, None] * size + drawn).ravel()
    return np.bincount(flat, minlength=resamples * size).reshape(resamples, size).astype(np.float64)
