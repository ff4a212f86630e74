"""How detectors are judged: the first rows of each series fit one, the rest of it tests that one.

It is the protocol of SKAB's leaderboard: one setting for all series, and nothing is chosen on rows that are
judged, thresholds included.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homeostat.models import fitting

from .series import Series

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """`train` is the rows of each series that are fitted, or below 1 the share of them; `options` go to
    `models.fitting.fit` as they are, the same for every series."""

    algorithms: tuple[str, ...]
    train: float = 400
    window: int = 40
    seeds: tuple[int, ...] = (0,)
    options: Mapping[str, Any] = field(default_factory=dict)

    def cut(self, rows: int) -> int:
        """How many of a series' rows are fitted; the others are judged."""
        return round(self.train * rows) if self.train < 1 else int(self.train)


@dataclass(frozen=True)
class Judged:
    """One detector on the judged rows of one series: (n,) scores, alarms and labels, and the seconds spent.
    `score_seconds` is for all rows of the series, the fitted ones too."""

    algorithm: str
    seed: int
    series: str
    scores: NDArray[np.float64]
    threshold: float
    alarms: NDArray[np.bool_]
    labels: NDArray[np.bool_]
    period: float | None
    fit_seconds: float
    score_seconds: float


@dataclass(frozen=True)
class Failed:
    """A detector that could not be had from a series, and why."""

    algorithm: str
    seed: int
    series: str
    reason: str


Outcome = Judged | Failed


def run(
    dataset: Sequence[Series],
    protocol: Protocol,
    *,
    jobs: int = 1,
    done: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Judges every algorithm with every seed on every series, in that order, in `jobs` processes.

    `done` hears of each outcome as it comes. Raises ValueError when a series leaves nothing to judge.
    """
    for one in dataset:
        cut = protocol.cut(len(one.rows))
        if not 0 < cut < len(one.rows):
            raise ValueError(
                f"{one.name} has {len(one.rows)} rows, {cut} of them to be fitted: nothing would be left of"
                f" {'fitted' if cut < 1 else 'judged'} rows; choose another --train"
            )
    tasks = [(one, name, seed) for name in protocol.algorithms for seed in protocol.seeds for one in dataset]
    if jobs == 1:
        outcomes = []
        for one, name, seed in tasks:
            outcomes.append(judge(one, name, seed, protocol))
            done(outcomes[-1])
        return outcomes
    with _threads(max((os.cpu_count() or 1) // jobs, 1)), _pool(jobs) as pool:
        futures = [pool.submit(judge, one, name, seed, protocol) for one, name, seed in tasks]
        for future in as_completed(futures):
            done(future.result())
        return [future.result() for future in futures]


def judge(one: Series, algorithm: str, seed: int, protocol: Protocol) -> Outcome:
    """Fits on the first rows of a series and scores the rest."""
    cut = protocol.cut(len(one.rows))
    try:
        begun = time.perf_counter()
        detector = fitting.fit(
            algorithm,
            one.rows[:cut],
            channels=one.channels,
            window=protocol.window,
            seed=seed,
            **protocol.options,
        )
        fit_seconds = time.perf_counter() - begun
        begun = time.perf_counter()
        # All rows, so that the first judged ones have those before them in their windows.
        scores = detector.score(one.rows)
        score_seconds = time.perf_counter() - begun
        alarms = detector.anomalies(scores)
    except (ValueError, RuntimeError, ArithmeticError) as error:
        return Failed(algorithm, seed, one.name, str(error))
    return Judged(
        algorithm,
        seed,
        one.name,
        scores[cut:],
        detector.threshold,
        alarms[cut:],
        one.labels[cut:],
        one.period,
        fit_seconds,
        score_seconds,
    )


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Spawned, not forked: torch and numba do not survive a fork with threads running.
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Processes that start meanwhile compute with so many threads each: more would wait for one another."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
