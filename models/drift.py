"""Do the newest rows still look like the rows that a detector was trained on?

alibi-detect measures the distance (maximum mean discrepancy, Gretton et al., JMLR 2012, or Kolmogorov-Smirnov
per channel) and its p-value. Rows of a process are no independent draws, so the p-value alone cries drift at
nearly every window (alibi-detect#549). Beside it, and both must hold, stands a threshold on the distance: how
far blocks of the reference lie from the rest of it, times a margin (a warm-up's thresholds, as Modyn has it).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .choices import DriftKind
from .features import Scaler

Rows = NDArray[np.float32]

_REFERENCE_ROWS = 400  # of at most 2,000; neighbours say the same, and MMD's cost grows with the square
_WINDOW_ROWS = 200
_LEAST_REFERENCE = 30
_LEAST_ROWS = 10
_LEAST_SCALE = 0.01  # of a channel's level: what is less than a sensor's own accuracy is no drift
_NAMED_CHANNELS = 3

# MMD: the kernel is wide, because a narrow one saturates once the reference itself wanders a little.
_BANDWIDTHS = 8.0  # times the median distance
_MMD_MARGIN = 5.0
_MMD_LEAST_MOVE = 3.0  # units of scale, in one channel
_MMD_MOST = 1.0  # two distributions with nothing in common are 1.41 apart

# KS, averaged over channels, ends at 1 and soon saturates: a smaller margin, and halfway to 1 at most. It is
# blunter than MMD: one channel among many must leave its old range altogether.
_KS_MARGIN = 2.5
_KS_LEAST = 0.1
_NOTHING_IN_COMMON: Mapping[DriftKind, float] = {"mmd": _MMD_MOST, "ks": 0.75}  # KS: midway from half to all


@dataclass(frozen=True, slots=True)
class Verdict:
    """`statistic` and `threshold` are the MMD (0 to 1.41) or the mean KS distance over channels (0 to 1);
    `channels` those that moved most, by their KS distance, the farthest first; `seconds` the cost."""

    drifted: bool
    statistic: float
    threshold: float
    p_value: float
    channels: tuple[str, ...]
    seconds: float


def load_backend() -> None:
    """Imports alibi-detect and torch now (3 to 11 s, half a gigabyte) rather than at the first test."""
    import alibi_detect.cd
    import alibi_detect.cd.pytorch  # noqa: F401


class DriftTest:
    """A test against (m, c) raw reference rows, contiguous in time, in the order of `channels`.

    `window` is how many rows a test will see (fewer will do, down to 10); blocks of that length calibrate the
    threshold. With `follows`, for detectors that follow slow change themselves (`models.baseline`), only rows
    that have nothing in common with the reference are drift: on one day SKAB's rig wanders 0.88 away from its
    first 300 rows, and is 1.4 away once rebuilt. The same arguments give the same verdict. Not thread-safe.
    Raises ValueError for a reference that is too short or not finite.
    """

    def __init__(
        self,
        reference: NDArray[Any],
        channels: tuple[str, ...],
        *,
        test: DriftKind = "mmd",
        p_value: float = 0.01,
        window: int = 500,
        follows: bool = False,
        seed: int = 0,
    ) -> None:
        import torch

        torch.set_num_threads(1)  # the host serves other work on the same cores
        if test not in _NOTHING_IN_COMMON:
            raise ValueError(f"test is {test!r}: choose one of {', '.join(_NOTHING_IN_COMMON)}")
        raw = _checked(reference, tuple(channels), "reference", _LEAST_REFERENCE)
        self.kind: DriftKind = test
        self.channels = tuple(channels)
        self.p_value = p_value
        self._seed = seed
        self._scaler = _scaler(raw)
        scaled = self._scaler.transform(raw)
        self._reference = _evenly(scaled, _REFERENCE_ROWS)
        build = _mmd if test == "mmd" else _ks
        blocks = [] if follows else _blocks(len(scaled), window)
        self._measure, calm = build(scaled, self._reference, blocks, p_value)
        self.threshold = _NOTHING_IN_COMMON[test] if follows else calm

    def test(self, rows: NDArray[Any]) -> Verdict:
        """The verdict on (n, c) raw rows. Raises ValueError, naming the fault, for other input."""
        import torch

        begun = time.perf_counter()
        scaled = self._scaler.transform(_checked(rows, self.channels, "rows", _LEAST_ROWS))
        # The permutations draw from torch's global generator: lend it ours, and give theirs back.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            statistic, p_value = self._measure(_evenly(scaled, _WINDOW_ROWS))
        return Verdict(
            drifted=bool(p_value < self.p_value and statistic > self.threshold),
            statistic=statistic,
            threshold=self.threshold,
            p_value=p_value,
            channels=_moved_most(self._reference, scaled, self.channels),
            seconds=time.perf_counter() - begun,
        )


Measure = Callable[[Rows], tuple[float, float]]
"""Scaled rows to statistic and p-value."""


def _mmd(scaled: Rows, sample: Rows, blocks: list[slice], p_value: float) -> tuple[Measure, float]:
    import torch
    from alibi_detect.cd import MMDDrift
    from alibi_detect.utils.pytorch.distance import mmd2_from_kernel_matrix
    from alibi_detect.utils.pytorch.kernels import GaussianRBF

    known = _with_spread(sample)
    apart = ((known[::2, None] - known[None, 1::2]) ** 2).sum(-1)
    bandwidth = _BANDWIDTHS * max(float(np.sqrt(np.median(apart) / 2)), 1e-3)
    kernel = GaussianRBF(torch.tensor([bandwidth]))

    def distance(block: Rows, rest: Rows) -> float:
        both = torch.from_numpy(np.concatenate([rest, block]))
        with torch.no_grad():
            return _root(float(mmd2_from_kernel_matrix(kernel(both, both), len(block))))

    own = _own_distances(_with_spread(scaled), blocks, distance)
    detector = MMDDrift(
        known,
        backend="pytorch",
        p_val=p_value,
        sigma=np.array([bandwidth], np.float32),
        configure_kernel_from_x_ref=False,
        n_permutations=min(max(100, ceil(1 / p_value)), 500),
        device="cpu",
    )

    def measure(rows: Rows) -> tuple[float, float]:
        with torch.no_grad():
            data = detector.predict(_with_spread(rows))["data"]
        return _root(float(data["distance"])), float(data["p_val"])

    least = _MMD_LEAST_MOVE / bandwidth
    return measure, min(max(_MMD_MARGIN * max(own, default=0.0), least), _MMD_MOST)


def _ks(scaled: Rows, sample: Rows, blocks: list[slice], p_value: float) -> tuple[Measure, float]:
    from alibi_detect.cd import KSDrift

    detector = KSDrift(sample, p_val=p_value, correction="bonferroni")

    def distance(block: Rows, rest: Rows) -> float:
        return float(detector.feature_score(rest, block)[1].mean())

    own = max(_own_distances(scaled, blocks, distance), default=0.0)

    def measure(rows: Rows) -> tuple[float, float]:
        data = detector.predict(rows, drift_type="batch")["data"]
        corrected = min(1.0, float(data["p_val"].min()) * rows.shape[1])
        return float(data["distance"].mean()), corrected

    return measure, max(min(_KS_MARGIN * own, (1 + own) / 2), _KS_LEAST)


def _own_distances(rows: Rows, blocks: list[slice], distance: Callable[[Rows, Rows], float]) -> list[float]:
    """How far each block of the reference lies from the rest of it."""
    return [
        distance(
            _evenly(rows[one], _WINDOW_ROWS),
            _evenly(np.concatenate([rows[: one.start], rows[one.stop :]]), _REFERENCE_ROWS),
        )
        for one in blocks
    ]


def _blocks(rows: int, window: int) -> list[slice]:
    """Overlapping blocks as long as a window, or a third of a short reference."""
    length = max(min(window, rows // 3), _LEAST_ROWS)
    starts = [*range(0, rows - length, max(length // 4, 1)), rows - length]
    return [slice(start, start + length) for start in starts]


def _scaler(raw: NDArray[np.float64]) -> Scaler:
    robust = Scaler.fit(raw, "robust")
    return Scaler("robust", robust.center, np.maximum(robust.scale, _LEAST_SCALE * np.abs(robust.center)))


def _with_spread(scaled: Rows) -> Rows:
    """A wide kernel compares means; the distance from the centre beside each value lets it see spread too."""
    return np.hstack([scaled, np.abs(scaled)])


def _evenly(rows: Rows, most: int) -> Rows:
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


def _root(squared: float) -> float:
    return float(np.sqrt(max(squared, 0.0)))  # an unbiased estimate of a squared distance may fall below 0


def _moved_most(reference: Rows, rows: Rows, channels: tuple[str, ...]) -> tuple[str, ...]:
    """Ordered by KS distance; where that is saturated, by how far the median moved."""
    moves = np.abs(np.median(rows, axis=0) - np.median(reference, axis=0))
    apart = [
        (round(_ks_distance(reference[:, j], rows[:, j]), 2), float(moves[j])) for j in range(len(channels))
    ]
    order = sorted(range(len(channels)), key=lambda j: apart[j], reverse=True)
    return tuple(channels[j] for j in order[:_NAMED_CHANNELS])


def _ks_distance(one: Rows, other: Rows) -> float:
    """The largest gap between two empirical distribution functions."""
    both = np.concatenate([one, other])
    below = [np.searchsorted(np.sort(each), both, side="right") / len(each) for each in (one, other)]
    return float(np.abs(below[0] - below[1]).max())


def _checked(rows: NDArray[Any], channels: tuple[str, ...], what: str, least: int) -> NDArray[np.float64]:
    values = np.asarray(rows, np.float64)
    if values.ndim != 2 or values.shape[1] != len(channels):
        raise ValueError(
            f"{what} has shape {values.shape}: give (rows, {len(channels)}) for {', '.join(channels)}"
        )
    if len(values) < least:
        raise ValueError(f"{what} has {len(values)} rows: a drift test needs at least {least}")
    if not np.isfinite(values).all():
        row, channel = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(
            f"{what}, row {row}, {channels[channel]!r} is {values[row, channel]}: drop such rows first"
        )
    return values
