"""Detectors on SKAB by its leaderboard's protocol: the first 400 rows of each run fit, the rest tests, one
setting for all runs, thresholds from fitted rows alone, five seeds.

Average precision and VUS-PR are means over the runs; F1 and false alarms are of all judged rows together, as
the leaderboard has them. The peer is what a user would otherwise write: scikit-learn's IsolationForest on
single rows, an alarm above the 0.99 quantile of its fitted scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from homeostat.infra.benchmark.folder import read
from homeostat.infra.benchmark.protocol import Judged, Protocol
from homeostat.infra.benchmark.protocol import run as judge
from homeostat.infra.benchmark.series import Series
from homeostat.infra.benchmark.summary import over_seeds
from tests.bench.skab import SKAB

PEER = f"scikit-learn {version('scikit-learn')}, IsolationForest on rows"
ALGORITHMS = ("ensemble", "sub-pca", "mahalanobis", "kmeans-ad", "isolation-forest")
SEEDS = (0, 1, 2, 3, 4)
WINDOW = 40
FITTED = 400
FIGURES = {
    "average_precision": "average_precision_mean",
    "vus_pr": "vus_pr_mean",
    "f1": "f1",
    "false_alarm_rate": "false_alarm_rate",
    "always_alarm_f1": "always_alarm_f1",
}


def run() -> dict[str, dict[str, Any]]:
    from tests.bench.__main__ import Metric

    series = read(SKAB).series
    protocol = Protocol(algorithms=ALGORITHMS, train=FITTED, window=WINDOW, seeds=SEEDS)
    outcomes = [*judge(series, protocol, jobs=2), *_peer(series)]
    failed = [one for one in outcomes if not isinstance(one, Judged)]
    if failed:
        raise RuntimeError(f"{failed[0]}")
    rows = over_seeds([one for one in outcomes if isinstance(one, Judged)])
    peer = rows.pop("peer")
    metrics = {}
    for algorithm, figures in rows.items():
        for name, figure in FIGURES.items():
            mean, spread = figures[figure]
            metrics[f"{algorithm}.{name}"] = Metric(mean, peer[figure][0], "").document() | {"spread": spread}
    return metrics


def _peer(series: Sequence[Series]) -> list[Judged]:
    return [_judged(one, seed) for seed in SEEDS for one in series]


def _judged(one: Series, seed: int) -> Judged:
    from sklearn.ensemble import IsolationForest

    fitted = one.rows[:FITTED]
    forest = IsolationForest(random_state=seed).fit(fitted)
    limit = float(np.quantile(-forest.score_samples(fitted), 0.99))
    scores = -forest.score_samples(one.rows[FITTED:])
    labels = one.labels[FITTED:]
    return Judged("peer", seed, one.name, scores, limit, scores > limit, labels, one.period, 0.0, 0.0)
