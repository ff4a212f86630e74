"""Scorings a second: one window and many by the isolation forest beside scikit-learn's with the same trees,
and one window by the networks beside eager torch.

scikit-learn is handed the windows flattened beforehand, with one job and with as many as we have threads,
and the better of the two counts. Both take turns, and the best turn of each counts: the least disturbed one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numba
import numpy as np

from homeostat.models.features import windows
from homeostat.models.isolation_forest import IsolationForest
from tests.bench import eager_networks

PEER = f"scikit-learn {version('scikit-learn')}'s IsolationForest; plain eager torch {version('torch')}"
WINDOW, CHANNELS, MANY = 20, 8, 20_000
ROUNDS = 7
SINGLES = 200
PEERS_SINGLES = 20  # it takes milliseconds for each


def run() -> dict[str, dict[str, Any]]:
    return _forest() | eager_networks.run()


def _forest() -> dict[str, dict[str, Any]]:
    from sklearn.ensemble import IsolationForest as Grown

    from tests.bench.__main__ import Metric

    made = _windows()
    flat = np.ascontiguousarray(made.reshape(MANY, -1))
    ours = IsolationForest(seed=0)
    ours.fit(made)
    threads = int(numba.config.NUMBA_NUM_THREADS)
    grown = {
        jobs: Grown(n_estimators=100, max_samples=256, random_state=0, n_jobs=jobs) for jobs in (1, threads)
    }
    peers = {jobs: one.fit(flat) for jobs, one in grown.items()}
    apart = float(np.abs(ours.score(made) + peers[1].score_samples(flat)).max())
    if apart > 1e-6:
        raise RuntimeError(f"our scores are up to {apart} apart from scikit-learn's: they are to be the same")

    def single() -> None:
        for place in range(SINGLES):
            ours.score(made[place : place + 1])

    def peers_single() -> None:
        for place in range(PEERS_SINGLES):
            peers[1].score_samples(flat[place : place + 1])

    def on_one_thread() -> None:
        numba.config.NUMBA_NUM_THREADS = 1
        ours.score(made)
        numba.config.NUMBA_NUM_THREADS = threads

    one, peers_one = _fastest(single, peers_single)
    bulk, on_one, *peers_bulk = _fastest(
        lambda: ours.score(made),
        on_one_thread,
        *(lambda peer=peer: peer.score_samples(flat) for peer in peers.values()),
    )
    return {
        "single_row": Metric(SINGLES / one, PEERS_SINGLES / peers_one, "scorings/s").document(),
        "bulk": Metric(MANY / bulk, MANY / min(peers_bulk), "scorings/s").document(),
        "bulk_one_core": Metric(MANY / on_one, MANY / peers_bulk[0], "scorings/s").document(),
    }


def _windows() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Overlapping windows of channels that wander and are noisy."""
    random = np.random.default_rng(0)
    steps = random.normal(size=(2, MANY + WINDOW - 1, CHANNELS))
    return windows((0.02 * np.cumsum(steps[0], axis=0) + steps[1]).astype(np.float32), WINDOW)


def _fastest(*contenders: Callable[[], Any]) -> list[float]:
    """The seconds of each contender's best turn."""
    seconds = [float("inf")] * len(contenders)
    for _ in range(ROUNDS):
        for place, contender in enumerate(contenders):
            begun = time.perf_counter()
            contender()
            seconds[place] = min(seconds[place], time.perf_counter() - begun)
    return seconds
