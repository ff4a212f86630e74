"""Isolation forest over windows, grown by scikit-learn, walked by compiled code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .algorithm import Float32Array, Scores, whole
from .contributions import occluded
from .packed_trees import PackedTrees, pack

_EULER = 0.5772156649015329
_MOST_TAPS = 64  # rows of a window that a cut may look at; the rows of a longer one are thinned out
_MOST_CELLS = 40_000_000  # of all windows fitted at once; 160 MB
_STILL = 1e-7  # between the ends of a cell's values: scikit-learn makes no cut between those any closer
_JITTER = 1e-3  # in scaled units


@dataclass
class IsolationForest:
    """Isolation forest (Liu, Ting and Zhou, ICDM 2008): anomalies are few and different, so random cuts
    part them from the rest early; the score is 2^(-mean depth / expected depth).

    A cut looks at one cell of the window, any row and channel of it. On SKAB that found more than summaries
    of the window (last value, mean, deviation, slope) did: average precision 0.78 against 0.70.
    A cell that never varied is given 1e-3 of noise before trees are grown, or none would look at it.

    Range: (0, 1], about 0.5 for a window like the rest and towards 1 for one that a few cuts part from it.
    Cost: fitting is scikit-learn's, O(trees * max_samples * log max_samples); scoring walks the trees in
    compiled code, about 1 µs a window and core (100 trees), and loads no scikit-learn.

    Parameters: `trees` (1 to 10,000), `max_samples` per tree (2 to 100,000).

    >>> rows = np.random.default_rng(0).normal(size=(500, 5, 2)).astype(np.float32)
    >>> forest = IsolationForest(seed=0)
    >>> forest.fit(rows)
    >>> bool(forest.score(rows + 8).min() > forest.score(rows).mean())
    True
    """

    name: ClassVar[str] = "isolation-forest"

    trees: int = 100
    max_samples: int = 256
    seed: int = 0
    _shape: tuple[int, int] = field(default=(0, 0), init=False, repr=False)
    _expected: float = field(default=0.0, init=False, repr=False)
    _nodes: dict[str, NDArray[Any]] = field(default_factory=dict, init=False, repr=False)
    _packed: PackedTrees = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.trees = whole("trees", self.trees, 1, 10_000)
        self.max_samples = whole("max_samples", self.max_samples, 2, 100_000)

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    def fit(self, windows: Float32Array) -> None:
        from sklearn.ensemble import IsolationForest as Grown

        n, w, c = windows.shape
        rows = taps(w)
        most = max(self.max_samples, _MOST_CELLS // (len(rows) * c))
        chosen = np.sort(np.random.default_rng(self.seed).permutation(n)[:most]) if n > most else np.arange(n)
        samples = min(self.max_samples, len(chosen))
        grown = Grown(n_estimators=self.trees, max_samples=samples, random_state=self.seed)
        cells = windows[np.ix_(chosen, rows, np.arange(c))].reshape(len(chosen), -1)
        grown.fit(stirred(cells, self.seed))
        self._shape = (w, c)
        self._expected = float(_average_depth(np.array([samples]))[0])
        self._nodes = _flatten([estimator.tree_ for estimator in grown.estimators_], rows, c)
        self._packed = _pack(self._nodes, c)

    def score(self, windows: Float32Array) -> Scores:
        from .tree_walk import mean_depths

        if windows.shape[1:] != self._shape:  # compiled code checks no bounds
            raise ValueError(f"windows of {windows.shape[1:]} (rows, channels), fitted on {self._shape}")
        depths = mean_depths(np.asarray(windows, np.float32), self._packed)
        # Grown on a single window, a tree has no cut at all: every window is as odd as any other.
        return np.exp2(-depths / self._expected) if self._expected else np.full(len(windows), 0.5)

    def contributions(self, windows: Float32Array) -> Scores:
        return occluded(self.score, windows)

    def settings(self) -> dict[str, Any]:
        return {
            "trees": self.trees,
            "max_samples": self.max_samples,
            "seed": self.seed,
            "shape": list(self._shape),
            "expected_depth": self._expected,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        return dict(self._nodes)

    @classmethod
    def restore(cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        forest = cls(settings["trees"], settings["max_samples"], settings["seed"])
        window, channels = settings["shape"]
        forest._shape = (int(window), int(channels))
        forest._expected = float(settings["expected_depth"])
        forest._nodes = _checked(arrays, forest._shape)
        forest._packed = _pack(forest._nodes, forest._shape[1])
        return forest


def taps(window: int) -> NDArray[np.int64]:
    """The rows of a window that cuts may look at: all, or 64 from the first to the last."""
    return np.asarray(np.unique(np.rint(np.linspace(0, window - 1, min(window, _MOST_TAPS)))), np.int64)


def stirred(cells: Float32Array, seed: int) -> Float32Array:
    """The (n, cells), with noise where no cut could be made: what never varied is to be cut close by, so that
    a window in which it moves is soon parted from the rest. Changes them in place."""
    still = np.ptp(cells, axis=0) <= _STILL
    noise = np.random.default_rng(seed).normal(0, _JITTER, (len(cells), int(still.sum())))
    cells[:, still] += noise.astype(cells.dtype)
    return cells


def _average_depth(samples: NDArray[Any]) -> NDArray[np.float64]:
    """The mean depth of an unsuccessful search in a binary tree of so many samples: 2H(n-1) - 2(n-1)/n."""
    n = np.maximum(samples.astype(np.float64), 2)
    deep = 2 * (np.log(np.maximum(n - 1, 1)) + _EULER) - 2 * (n - 1) / n
    return np.select([samples <= 1, samples == 2], [0.0, 1.0], deep)


_TYPES: Mapping[str, type[Any]] = {
    "roots": np.int32,
    "left": np.int32,
    "right": np.int32,
    "row": np.int32,
    "channel": np.int32,
    "cut": np.float64,
    "depth": np.float64,
}
"""The arrays of a forest as an artifact keeps them: the trees' roots, then one entry per node."""


def _pack(nodes: Mapping[str, NDArray[Any]], channels: int) -> PackedTrees:
    """For the walk. Raises ValueError when a node has several parents or none."""
    cell = nodes["row"].astype(np.int64) * channels + nodes["channel"]
    return pack(nodes["roots"], nodes["left"], nodes["right"], cell, nodes["cut"], nodes["depth"])


def _flatten(trees: list[Any], rows: NDArray[np.int64], channels: int) -> dict[str, NDArray[Any]]:
    """scikit-learn's trees as arrays over the nodes of all; a leaf points to itself."""
    starts = np.cumsum([0, *(tree.node_count for tree in trees)])
    columns: dict[str, list[NDArray[Any]]] = {key: [] for key in _TYPES if key != "roots"}
    for start, tree in zip(starts[:-1], trees, strict=True):
        own = np.arange(tree.node_count)
        leaf = tree.children_left == -1
        left = np.where(leaf, own, tree.children_left)
        right = np.where(leaf, own, tree.children_right)
        depth = np.zeros(tree.node_count)
        for node in np.flatnonzero(~leaf):  # parents come before their children
            depth[[left[node], right[node]]] = depth[node] + 1
        feature = np.where(leaf, 0, tree.feature)
        columns["left"].append(left + start)
        columns["right"].append(right + start)
        columns["row"].append(rows[feature // channels])
        columns["channel"].append(feature % channels)
        columns["cut"].append(np.where(leaf, 0.0, tree.threshold))
        columns["depth"].append(depth + _average_depth(tree.n_node_samples))
    joined = {"roots": starts[:-1]} | {key: np.concatenate(parts) for key, parts in columns.items()}
    return {key: joined[key].astype(kind) for key, kind in _TYPES.items()}


def _checked(arrays: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> dict[str, NDArray[Any]]:
    """The arrays, once it is sure that no walk over them leaves them or goes round for ever."""
    missing = sorted(set(_TYPES) - set(arrays))
    if missing:
        raise ValueError(f"isolation-forest lacks the arrays {', '.join(missing)}")
    wrong = [key for key, kind in _TYPES.items() if arrays[key].dtype != kind or arrays[key].ndim != 1]
    if wrong:
        raise ValueError(f"isolation-forest: {wrong[0]} must be one-dimensional {_TYPES[wrong[0]].__name__}")
    nodes = {key: np.ascontiguousarray(arrays[key]) for key in _TYPES}
    count = len(nodes["left"])
    own = np.arange(count)
    leaf = nodes["left"] == own
    bounds = {"roots": count, "left": count, "right": count, "row": shape[0], "channel": shape[1]}
    sound = (
        all(len(nodes[key]) == count for key in nodes if key != "roots")
        and len(nodes["roots"]) > 0
        and all(bool(((nodes[key] >= 0) & (nodes[key] < bound)).all()) for key, bound in bounds.items())
        and all(bool((leaf | (nodes[side] > own)).all()) for side in ("left", "right"))
        and all(bool(np.isfinite(nodes[key]).all()) for key in ("cut", "depth"))
    )
    if not sound:
        raise ValueError("isolation-forest: its trees do not hold together; fit and save the model again")
    return nodes
