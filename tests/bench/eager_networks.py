"""Single windows a second through our compiled networks, beside the same networks in plain eager torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

from homeostat.models.algorithm import create
from homeostat.models.error_detector import ErrorDetector, emphasis
from homeostat.models.features import windows

PEER = f"the same network in eager torch {version('torch')}"
ROWS, WINDOW, CHANNELS = 460, 60, 8
ROUNDS = 40
SCORINGS = {"ours": 200, "peer": 20}  # a round; few enough that both sides see the same machine
TOLERANCE = 1e-4


def run() -> dict[str, dict[str, Any]]:
    """Scorings of one 60 x 8 window a second; each side's best round, for whatever else the machine did."""
    from tests.bench.__main__ import Metric

    made = windows(np.random.default_rng(0).normal(size=(ROWS, CHANNELS)).astype(np.float32), WINDOW)
    found = {}
    for name, metric in (("autoencoder", "autoencoder_window"), ("lstm-vae", "lstm_vae_window")):
        detector = create(name, {}, 0)
        assert isinstance(detector, ErrorDetector)
        detector.fit(made)
        found[metric] = Metric(*_rates(detector, made), "scorings/s").document()
    return found


def _rates(detector: ErrorDetector, made: Any) -> tuple[float, float]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        peer = eager(detector)
        told = np.array([peer(made[i : i + 1]) for i in range(len(made))])
        if not np.abs(told - detector.score(made)).max() < TOLERANCE:
            raise RuntimeError(f"{detector.name}: eager torch scores differ by more than {TOLERANCE}")
        one = np.ascontiguousarray(made[:1])
        rounds = [
            (_timed(detector.score, one, SCORINGS["ours"]), _timed(peer, one, SCORINGS["peer"]))
            for _ in range(ROUNDS)
        ]
        ours, others = (max(both[side] for both in rounds) for side in (0, 1))
        return ours, others
    finally:
        torch.set_num_threads(threads)


def _timed(score: Callable[[Any], Any], window: Any, times: int) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        score(window)
    return times / (time.perf_counter() - begun)


def eager(detector: ErrorDetector) -> Callable[[Any], float]:
    """The detector's whole scoring of one (1, w, c) window, written as one would in torch."""
    import torch

    network = detector.network()
    arrays = {key: torch.from_numpy(array.copy()) for key, array in detector.arrays().items()}
    usual = arrays.pop("usual")
    network.load_state_dict(arrays, strict=False)  # what only training needs is not kept
    network.eval()
    weights = torch.from_numpy(emphasis(detector.shape[0]))[:, None]

    def score(window: Any) -> float:
        with torch.no_grad():
            rows = torch.asinh(torch.from_numpy(window) / 8) * 8
            errors = ((network(rows) - rows).square() * weights).sum(dim=1)
            return float(torch.log1p(errors / usual).mean())

    return score
