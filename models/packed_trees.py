"""Binary trees in the layout that compiled code walks fastest: one 16-byte node after the other, siblings
side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NODE = np.dtype([("cut", np.float32), ("cell", np.uint32), ("left", np.uint32), ("unused", np.uint32)])
"""A cell above the cut goes to `left + 1`, any other to `left`. A leaf is its own `left`, and its cut is
infinite: going down from it stays there, so that a tree is walked in a fixed number of steps."""


@dataclass(frozen=True)
class PackedTrees:
    """All nodes of all trees, each tree in one piece and breadth first; one entry of `depth` per node."""

    nodes: NDArray[Any]  # of NODE
    depth: NDArray[np.float64]  # what a leaf is worth
    roots: NDArray[np.uint32]
    levels: NDArray[np.uint32]  # steps from each root to its farthest leaf


def pack(
    roots: NDArray[np.int32],
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    cell: NDArray[np.int64],
    cut: NDArray[np.float64],
    depth: NDArray[np.float64],
) -> PackedTrees:
    """Trees given as arrays over their nodes, where a leaf is its own child. `cell` is the place, in a
    window's flat memory, of the number that a node looks at.

    Raises ValueError when a node has several parents or none: it would be walked into by two ways.
    """
    own = np.arange(len(left))
    leaf = left == own
    parents = np.bincount(np.concatenate([left[~leaf], right[~leaf], roots]), minlength=len(own))
    if not (parents == 1).all():
        raise ValueError(
            f"node {int((parents != 1).argmax())} of the trees has not exactly one parent: fit and save the"
            " model again"
        )
    order, levels = _breadth_first(roots, left, right, leaf)
    place = np.empty(len(own), np.uint32)
    place[order] = own
    nodes = np.zeros(len(own), NODE)
    nodes["cut"] = np.where(leaf, np.float32(np.inf), _rounded_down(cut))[order]
    nodes["cell"] = np.where(leaf, 0, cell)[order]
    nodes["left"] = place[left][order]
    return PackedTrees(nodes, np.ascontiguousarray(depth[order]), place[roots], levels)


def _breadth_first(
    roots: NDArray[np.int32], left: NDArray[np.int32], right: NDArray[np.int32], leaf: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """The nodes tree by tree, each tree level by level, siblings together; and each tree's last level."""
    levels = np.zeros(len(roots), np.uint32)
    level, tree = roots.astype(np.int64), np.arange(len(roots))
    seen = [(level, tree)]
    while not leaf[level].all():
        inner = ~leaf[level]
        level = np.stack([left[level[inner]], right[level[inner]]], axis=1).reshape(-1).astype(np.int64)
        tree = np.repeat(tree[inner], 2)
        levels[tree] = len(seen)
        seen.append((level, tree))
    nodes, trees = (np.concatenate(parts) for parts in zip(*seen, strict=True))
    return nodes[np.argsort(trees, kind="stable")], levels


def _rounded_down(cut: NDArray[np.float64]) -> NDArray[np.float32]:
    """The greatest float32 that is not above: a float32 number is above the one cut exactly when it is
    above the other."""
    with np.errstate(over="ignore", under="ignore"):  # beyond float32's range: infinity, or 0
        nearest = cut.astype(np.float32)
        below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest > cut, below, nearest)
