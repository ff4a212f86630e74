"""Tests that look at each row as it comes, by alibi-detect: online MMD, LSDD and Cramér-von Mises, with
thresholds for an expected run time.

Those thresholds come from a bootstrap of many seconds, so they are settled once, with the calibration. They
take rows for independent draws: hence a few points stand for a window, as far apart as they can be, and
beside the bootstrap's stands a threshold on the distance, from a run over the reference itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .drift_kernels import LEAST_MOVE, bandwidth, margin, rooted, with_spread
from .drift_randomness import lent
from .drift_rows import Rows, evenly, with_mean

NAMES = ("mmd-online", "lsdd-online", "cvm-online")
POINTS = 25
"""That stand for a window."""
_REFERENCE = 200
_BOOTSTRAPS = 2_000  # a dozen seconds
_TOLD_BY = 2  # bootstraps that a quantile needs beyond it
_FAR = 100.0  # units of scale: nothing in common
_MOST = 0.7  # of the distance between two that have nothing in common
_LEAST_CVM = 0.1
_MOST_REHEARSED = 2_000  # points


def stride(window: int) -> int:
    """Every so many rows, one is a point."""
    return max(1, window // POINTS)


@dataclass
class OnlineTest:
    """One of alibi-detect's online detectors on scaled rows. `arrays` settle it without the bootstrap;
    `points` are the latest that it has seen."""

    name: str
    detector: Any
    arrays: Mapping[str, NDArray[Any]]
    count: int = 0
    points: list[Rows] = field(default_factory=list)

    def push(self, point: Rows) -> tuple[NDArray[np.float64], bool]:
        """A (c,) row. The (k,) distances from the reference, and whether one is beyond the expected run
        time's threshold. 0 and False until there are `POINTS` points."""
        self.count += 1
        self.points = [*self.points, point][-POINTS:]
        statistic = self.detector.score(_shown(self.name, point))
        limit = self.detector.get_threshold(self.detector.t)
        if self.name == "cvm-online":
            self.detector.xs = self.detector.xs[-POINTS:]  # alibi-detect would keep every row
            distances = _cvm_distances(np.asarray(statistic[0], np.float64), self.detector.n)
        else:
            distances = rooted(np.array([statistic]))
        if self.count < POINTS:
            return np.zeros_like(distances), False
        return distances, bool(np.any(statistic > limit))

    def resume(self, count: int, points: NDArray[Any]) -> None:
        """Goes on after `count` points, of which these (k, c) were the latest."""
        self.detector.reset_state()
        self.count, self.points = count - len(points), []
        for point in points:
            self.push(point)
        self.detector.t = count


def settle(name: str, known: Rows, expected_run_time: float, seed: int) -> OnlineTest:
    """Runs the bootstrap for (n, c) scaled reference rows; `expected_run_time` in points. More than the
    bootstrap can tell is cut to what it can."""
    return _built(name, known, expected_run_time, seed, None)


def settled(name: str, known: Rows, seed: int, arrays: Mapping[str, NDArray[Any]]) -> OnlineTest:
    return _built(name, known, 0.0, seed, arrays)


def rehearsed(
    test: OnlineTest, known: Rows, stretches: list[Rows], trust: float
) -> tuple[NDArray[np.float64], float]:
    """Limits of the distances and of their mean after a run over stretches of points; and for this alone 0.7
    times the distance of what has nothing in common with the reference."""
    own = np.zeros(1)
    left = _MOST_REHEARSED
    for one in (some for some in stretches if len(some)):
        if not left:
            break
        own = np.maximum(own, _highest(test, one[:left]))
        left -= len(one[:left])
    sample = evenly(known, POINTS)
    moved = [
        _highest(test, sample + LEAST_MOVE * unit) for unit in np.eye(known.shape[1], dtype=np.float32)[:8]
    ]
    most = _MOST * _highest(test, sample + np.float32(_FAR))
    test.resume(0, known[:0])
    if test.name == "cvm-online":  # its distances end at 1
        tight = np.minimum((1.5 + 1.0 * (1 - trust)) * own, (1 + own) / 2)
        return np.maximum(tight, _LEAST_CVM), float(most[-1])
    return np.clip(margin(trust) * own, np.median(moved, axis=0), most), float(most[0])


def _highest(test: OnlineTest, points: Rows) -> NDArray[np.float64]:
    """Where there are any points."""
    test.resume(0, points[:0])
    return np.asarray(np.max([with_mean(test.push(one)[0]) for one in points], axis=0))


def _shown(name: str, rows: Rows) -> Rows:
    """What a detector sees of (c,) or (n, c) rows."""
    if name == "cvm-online":
        return rows
    return with_spread(rows[None])[0] if rows.ndim == 1 else with_spread(rows)


def _cvm_distances(statistic: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """From alibi-detect's standardised statistics (Anderson, 1962, equations 3 and 14), as of batches."""
    m = POINTS
    mean = 1 / 6 + 1 / (6 * (n + m))
    top = (n + m + 1) * (4 * n * m * (n + m) - 3 * (n * n + m * m) - 2 * n * m)
    deviation = np.sqrt(top / (45 * (n + m) * (n + m) * 4 * n * m))
    raw = statistic * deviation + mean
    return np.asarray(np.sqrt(np.clip(3 * (raw - 1 / 6) * (n + m) / (n * m), 0, 1)))


def _built(
    name: str, known: Rows, run_time: float, seed: int, arrays: Mapping[str, NDArray[Any]] | None
) -> OnlineTest:
    sample = evenly(known, _REFERENCE)
    told_by = known.shape[1] if name == "cvm-online" else 1  # alibi-detect divides the rate among channels
    bootstraps = int(min(max(_TOLD_BY * run_time * told_by, 100), _BOOTSTRAPS))
    most = bootstraps / _TOLD_BY / told_by
    with lent(seed):
        shown = _shown(name, sample)
        detector = _Settling(arrays, seed).of(_CLASSES[name]())(
            shown,
            ert=max(min(run_time, most), 2.0),
            n_bootstraps=bootstraps,
            verbose=False,
            **_ARGUMENTS[name](shown),
        )
    return OnlineTest(name, detector, _arrays(detector))


def _arrays(detector: Any) -> dict[str, NDArray[Any]]:
    found = {"thresholds": np.asarray(detector.thresholds, np.float64)}
    if hasattr(detector, "H_lam_inv"):
        found["inverse"] = detector.H_lam_inv.numpy()
    return found


@dataclass(frozen=True)
class _Settling:
    """alibi-detect has no way around its bootstrap but its own saved form, which is pickled. So its hook for
    it takes the arrays where there are some. What is drawn at random after it is drawn from the same seed
    either way, so that the detector is the same one."""

    arrays: Mapping[str, NDArray[Any]] | None
    seed: int

    def of(self, cls: type[Any]) -> type[Any]:
        import torch

        arrays, seed = self.arrays, self.seed

        class Settled(cls):  # type: ignore[misc]
            def _configure_thresholds(self) -> None:
                if arrays is None:
                    super()._configure_thresholds()
                    inverse = getattr(self, "H_lam_inv", None)
                    if inverse is not None:  # laid out as it will be read, so that products are the same bits
                        self.H_lam_inv = inverse.contiguous()
                else:
                    self.thresholds = arrays["thresholds"]
                    if "inverse" in arrays:
                        self.H_lam_inv = torch.from_numpy(np.ascontiguousarray(arrays["inverse"]))
                torch.manual_seed(seed)

        return Settled


def _mmd() -> Any:
    from alibi_detect.cd.pytorch.mmd_online import MMDDriftOnlineTorch

    return MMDDriftOnlineTorch


def _lsdd() -> Any:
    from alibi_detect.cd.pytorch.lsdd_online import LSDDDriftOnlineTorch

    return LSDDDriftOnlineTorch


def _cvm() -> Any:
    from alibi_detect.cd.cvm_online import CVMDriftOnline

    return CVMDriftOnline


_CLASSES: Mapping[str, Callable[[], Any]] = {"mmd-online": _mmd, "lsdd-online": _lsdd, "cvm-online": _cvm}


def _of_mmd(shown: Rows) -> dict[str, Any]:
    return {"window_size": POINTS, "sigma": np.array([bandwidth(shown)], np.float32), "device": "cpu"}


def _of_lsdd(shown: Rows) -> dict[str, Any]:
    spread = np.maximum(shown.std(axis=0, ddof=1), 1e-12)  # alibi-detect scales by it before the kernel
    return _of_mmd((shown - shown.mean(axis=0)) / spread)


def _of_cvm(shown: Rows) -> dict[str, Any]:
    return {"window_sizes": [POINTS]}


_ARGUMENTS: Mapping[str, Callable[[Rows], dict[str, Any]]] = {
    "mmd-online": _of_mmd,
    "lsdd-online": _of_lsdd,
    "cvm-online": _of_cvm,
}
