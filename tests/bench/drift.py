"""Drift on streams whose drift is known (`drift_streams` says what is normal in each): false alarms, delay,
misses and cost of every test, beside alibi-detect's own detectors with their defaults.

Windows of 500 rows (of 200 errors) are tested every 100. Both see the same 400 rows of the reference.
alibi-detect's online detectors have no default window nor run time: they get 25 rows and 400. False alarms
are windows that were called drift, not yet latched: a Detector reports three in a row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import product
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homeostat.models.fitting import fit
from tests.bench.drift_judges import ERRORS, EVERY, SCORES, Judge, ours, plain
from tests.bench.drift_streams import STREAMS, Stream
from tests.bench.skab import SKAB

PEER = f"alibi-detect {version('alibi-detect')}, its defaults"
BATCH = ("mmd", "ks", "cvm", "lsdd", "chi2")
ONLINE = ("mmd-online", "lsdd-online", "cvm-online")
SEEDS, ONLINE_SEEDS = (1, 2), (1,)
PLAIN_EVERY: Mapping[str, int] = {"mmd": 20, **dict.fromkeys(ONLINE, 2)}
"""Of the normal windows, the peer's slow tests see every so many."""


@dataclass
class Tally:
    windows: int = 0
    false: int = 0
    delays: list[int] = field(default_factory=list)
    drifts: int = 0
    seconds: float = 0.0

    def __iadd__(self, other: Tally) -> Tally:
        self.windows += other.windows
        self.false += other.false
        self.delays += other.delays
        self.drifts += other.drifts
        self.seconds += other.seconds
        return self


FIGURES: Mapping[str, tuple[str, Callable[[Tally], float]]] = {
    "false_alarms": ("per 10,000", lambda one: 10_000 * one.false / max(one.windows, 1)),
    "delay": ("rows", lambda one: float(np.median(one.delays)) if one.delays else nan),
    "missed": ("share", lambda one: 1 - len(one.delays) / max(one.drifts, 1)),
    "cost": ("ms", lambda one: 1000 * one.seconds / max(one.windows, 1)),
}


def run() -> dict[str, dict[str, Any]]:
    from tests.bench.__main__ import Metric

    jobs = [(name, test, seed) for name in STREAMS for test, seed in _tests(name)]
    found: dict[tuple[str, str], tuple[Tally, Tally]] = {}
    with ProcessPoolExecutor(2) as pool:
        for (name, test, _), both in zip(jobs, pool.map(_both, jobs), strict=True):
            for tally, more in zip(found.setdefault((name, test), (Tally(), Tally())), both, strict=True):
                tally += more
    return {
        f"{name}.{test}.{figure}": Metric(of(mine), of(peer), unit).document()
        for (name, test), (mine, peer) in found.items()
        for figure, (unit, of) in FIGURES.items()
        if figure != "delay" or mine.delays  # what was never seen has none
    }


def _tests(name: str) -> Iterator[tuple[str, int]]:
    """The tests of a stream, and seeds. SKAB's rig has one past, and no channel that is a category."""
    if name == "errors":
        yield from product((ERRORS,), SEEDS)
    elif name != "skab":
        yield from product((*BATCH, SCORES), SEEDS)
        yield from product(ONLINE, ONLINE_SEEDS)
    elif SKAB.exists():
        yield from product((*BATCH[:-1], SCORES, *ONLINE), SEEDS[:1])


def _both(job: tuple[str, str, int]) -> tuple[Tally, Tally]:
    import torch

    torch.set_num_threads(1)
    name, test, seed = job
    stream = STREAMS[name](seed)
    scores = _scored(stream) if test == SCORES else None
    judged = scores or stream
    mine = _tally(judged, ours(stream, test, scores), 1)
    return mine, _tally(judged, plain(judged, test), PLAIN_EVERY.get(test, 1))


def _scored(stream: Stream) -> Stream:
    """The scores of a detector that was fitted on what is known, which it scores too."""
    model = fit("mahalanobis", stream.known, channels=stream.channels, window=10)
    past = len(stream.known)
    whole = model.score(np.concatenate([stream.known, stream.normal]))[:, None]
    drifts = [model.score(np.concatenate([stream.normal[-50:], one]))[50:, None] for one in stream.drifts]
    return Stream(("score",), whole[:past], whole[past:], tuple(drifts), stream.step)


def _tally(stream: Stream, judge: Judge, thinned: int) -> Tally:
    tally = Tally(drifts=len(stream.drifts))
    for number, (at, rows) in enumerate(_steps(stream.normal, len(stream.known))):
        begun = time.perf_counter()
        drifted = judge.step(rows, at, number % thinned == 0)
        if drifted is not None:
            tally.seconds += time.perf_counter() - begun
            tally.windows += 1
            tally.false += drifted
    begin = len(stream.known) + len(stream.normal)
    for drift in stream.drifts:
        fresh = judge.fork()
        for at, rows in _steps(drift, begin):
            if fresh.step(rows, at, True):
                tally.delays.append(at + len(rows) - begin)
                break
    return tally


def _steps(rows: NDArray[Any], begin: int) -> Iterator[tuple[int, NDArray[Any]]]:
    for start in range(0, len(rows) - EVERY + 1, EVERY):
        yield begin + start, rows[start : start + EVERY]
