"""Isolation forest over summarised windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .algorithm import Float32Array, Scores, whole

_EULER = 0.5772156649015329


@dataclass
class IsolationForest:
    """Isolation forest (Liu, Ting and Zhou, ICDM 2008): anomalies are few and different, so random cuts
    part them from the rest early; the score is 2^(-mean depth / expected depth).

    Each window is summarised per channel by its last value, mean, standard deviation and slope (the rise of
    the least-squares line over the window), 4c features in all. Cuts depend on ranks alone, so
    scaling does not matter to it.

    Range: (0, 1], about 0.5 for a window like the rest and towards 1 for one that a few cuts part from it.
    Cost: fitting is scikit-learn's, O(trees * max_samples * log max_samples) after summarising; scoring walks
    the trees in compiled code and loads no scikit-learn.

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

    def __post_init__(self) -> None:
        self.trees = whole("trees", self.trees, 1, 10_000)
        self.max_samples = whole("max_samples", self.max_samples, 2, 100_000)

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    def fit(self, windows: Float32Array) -> None:
        from sklearn.ensemble import IsolationForest as Reference

        features = summaries(windows)
        samples = min(self.max_samples, len(features))
        forest = Reference(n_estimators=self.trees, max_samples=samples, random_state=self.seed)
        forest.fit(features)
        self._shape = (windows.shape[1], windows.shape[2])
        self._expected = float(_average_depth(np.array([samples]))[0])
        self._nodes = _flatten([estimator.tree_ for estimator in forest.estimators_])

    def score(self, windows: Float32Array) -> Scores:
        from .tree_walk import depths

        out = np.empty(len(windows))
        nodes = self._nodes
        depths(
            summaries(windows),
            nodes["roots"],
            nodes["left"],
            nodes["right"],
            nodes["feature"],
            nodes["cut"],
            nodes["depth"],
            out,
        )
        # With one sample a tree has no cut at all: every window is as odd as any other.
        return np.exp2(-out / self._expected) if self._expected else np.full(len(windows), 0.5)

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
        forest._nodes = _checked(arrays, forest._shape[1])
        return forest


def summaries(windows: Float32Array) -> Float32Array:
    """(n, w, c) windows become (n, 4c) features: last values, means, standard deviations, slopes."""
    from .tree_walk import STATISTICS, summarise

    n, _, c = windows.shape
    out = np.empty((n, STATISTICS * c), np.float32)
    summarise(np.asarray(windows, np.float32), out)
    return out


def _average_depth(samples: NDArray[Any]) -> NDArray[np.float64]:
    """The mean depth of an unsuccessful search in a binary tree of so many samples: 2H(n-1) - 2(n-1)/n."""
    n = np.maximum(samples.astype(np.float64), 2)
    deep = 2 * (np.log(np.maximum(n - 1, 1)) + _EULER) - 2 * (n - 1) / n
    return np.select([samples <= 1, samples == 2], [0.0, 1.0], deep)


def _flatten(trees: list[Any]) -> dict[str, NDArray[Any]]:
    """scikit-learn's trees as arrays over the nodes of all; a leaf points to itself."""
    starts = np.cumsum([0, *(tree.node_count for tree in trees)])
    columns: dict[str, list[NDArray[Any]]] = {key: [] for key in ("left", "right", "feature", "cut", "depth")}
    for start, tree in zip(starts[:-1], trees, strict=True):
        own = np.arange(tree.node_count)
        leaf = tree.children_left == -1
        left = np.where(leaf, own, tree.children_left)
        right = np.where(leaf, own, tree.children_right)
        depth = np.zeros(tree.node_count)
        for node in np.flatnonzero(~leaf):  # parents come before their children
            depth[[left[node], right[node]]] = depth[node] + 1
        columns["left"].append((left + start).astype(np.int32))
        columns["right"].append((right + start).astype(np.int32))
        columns["feature"].append(np.where(leaf, 0, tree.feature).astype(np.int32))
        columns["cut"].append(np.where(leaf, 0.0, tree.threshold))
        columns["depth"].append(depth + _average_depth(tree.n_node_samples))
    return {"roots": starts[:-1].astype(np.int32)} | {k: np.concatenate(v) for k, v in columns.items()}


_TYPES: Mapping[str, type[Any]] = {
    "roots": np.int32,
    "left": np.int32,
    "right": np.int32,
    "feature": np.int32,
    "cut": np.float64,
    "depth": np.float64,
}


def _checked(arrays: Mapping[str, NDArray[Any]], channels: int) -> dict[str, NDArray[Any]]:
    """The arrays, once it is sure that no walk over them leaves them or goes round for ever."""
    from .tree_walk import STATISTICS

    missing = sorted(set(_TYPES) - set(arrays))
    if missing:
        raise ValueError(f"isolation-forest lacks the arrays {', '.join(missing)}")
    nodes = {key: np.ascontiguousarray(arrays[key], kind) for key, kind in _TYPES.items()}
    count = len(nodes["left"])
    own = np.arange(count)
    leaf = nodes["left"] == own
    sound = (
        all(array.ndim == 1 for array in nodes.values())
        and all(len(array) == count for key, array in nodes.items() if key != "roots")
        and len(nodes["roots"]) > 0
        and bool(((nodes["roots"] >= 0) & (nodes["roots"] < count)).all())
        and all(bool((leaf | (nodes[side] > own)).all()) for side in ("left", "right"))
        and all(bool((nodes[side] < count).all()) for side in ("left", "right"))
        and bool(((nodes["feature"] >= 0) & (nodes["feature"] < STATISTICS * channels)).all())
        and bool(np.isfinite(nodes["depth"]).all())
    )
    if not sound:
        raise ValueError("isolation-forest: its trees do not hold together; fit and save the model again")
    return nodes
