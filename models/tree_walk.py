"""Isolation trees walked by compiled code: about 1 µs a window and core where scikit-learn takes 6 to 20,
and 3 µs for a window alone where it takes milliseconds.

What made it fast, on windows of 20 rows and 8 channels, 100 trees, one core: nodes of 16 bytes with siblings
side by side, so that a step adds instead of branching, and four windows in lockstep, so that one's loads hide
behind the others' (9.4 to 2.1 µs a window); indices without a sign, for which numba emits no test for "from
the end" (to 1.4); eight in lockstep (to 0.9). Trees padded to their full depth, which need no pointer to the
children, were no faster. A tree is walked for a block of windows before the next one is, so that both
stay in the first cache. A window is never gathered: overlapping ones are read where they lie.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import numba
import numpy as np
from numba import njit, types
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from .kernels import FLOATS, SCORES, compiled
from .packed_trees import NODE, PackedTrees

_BLOCK = 512  # windows per tree at a time
_CHUNK = 2048  # windows that a thread takes at a time: 2 ms, well above what a thread costs to start
_u = np.uint64


def mean_depths(windows: NDArray[np.float32], trees: PackedTrees) -> NDArray[np.float64]:
    """The mean, over the trees, of what the leaf is worth that each of the (n, w, c) windows falls into.

    Many windows are shared among as many threads as numba may use (NUMBA_NUM_THREADS). They are Python's,
    and the compiled code lets go of the interpreter: of numba's own pools, one must not be entered by two
    threads at once, and another does not survive a fork. No two threads write to the same place, so any
    number of calls may run at once; and a window's score does not depend on what is scored with it.
    """
    walk = _walk()
    cells, stride = _flat(windows)
    out = np.empty(len(windows))
    if len(out) < 2 * _CHUNK:
        walk(cells, stride, *vars(trees).values(), out)
        return out
    chunks = count(0, _CHUNK)

    def work() -> None:
        while (start := next(chunks)) < len(out):
            walk(cells[start * stride :], stride, *vars(trees).values(), out[start : start + _CHUNK])

    helpers = min(numba.config.NUMBA_NUM_THREADS, len(out) // _CHUNK) - 1
    with ThreadPoolExecutor(max(helpers, 1)) as pool:  # it starts no thread before it is given work
        helping = [pool.submit(work) for _ in range(helpers)]
        work()
    for one in helping:
        one.result()
    return out


def _flat(windows: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """The memory of the windows as one vector, and how many cells lie between the starts of two of them."""
    n, w, c = windows.shape
    if not windows.flags.c_contiguous:
        size = windows.itemsize
        between, *within = windows.strides
        if n and within == [c * size, size] and between > 0 and between % size == 0:
            stride = between // size  # windows that overlap, over rows without a gap
            return as_strided(windows, ((n - 1) * stride + w * c,), (size,), writeable=False), stride
        windows = np.ascontiguousarray(windows)
    return windows.reshape(-1), w * c


@njit(inline="always")  # type: ignore[untyped-decorator]
def _down(cells: Any, start: Any, nodes: Any, node: Any) -> Any:
    """One step from a node, without a branch."""
    one = nodes[node]
    return _u(one.left) + _u(cells[start + _u(one.cell)] > one.cut)


@compiled(
    FLOATS,  # cells
    types.int64,  # stride
    types.Array(numba.from_dtype(NODE), 1, "C", readonly=True),
    types.Array(types.float64, 1, "C", readonly=True),  # depth
    *(types.Array(types.uint32, 1, "C", readonly=True),) * 2,  # roots, levels
    SCORES,
)
def _walk(
    cells: NDArray[np.float32],
    stride: int,
    nodes: NDArray[Any],
    depth: NDArray[np.float64],
    roots: NDArray[np.uint32],
    levels: NDArray[np.uint32],
    out: NDArray[np.float64],
) -> None:
    """`mean_depths` of the windows that start every `stride` cells, into `out`."""
    step = _u(stride)
    for block in range(0, len(out), _BLOCK):
        end = min(block + _BLOCK, len(out))
        out[block:end] = 0.0
        for tree in range(len(roots)):
            root, down = _u(roots[tree]), levels[tree]
            i = _u(block)
            while i + _u(8) <= _u(end):
                s0 = i * step
                s1, s2, s3, s4 = s0 + step, s0 + _u(2) * step, s0 + _u(3) * step, s0 + _u(4) * step
                s5, s6, s7 = s4 + step, s4 + _u(2) * step, s4 + _u(3) * step
                n0 = n1 = n2 = n3 = n4 = n5 = n6 = n7 = root
                for _ in range(down):
                    n0 = _down(cells, s0, nodes, n0)
                    n1 = _down(cells, s1, nodes, n1)
                    n2 = _down(cells, s2, nodes, n2)
                    n3 = _down(cells, s3, nodes, n3)
                    n4 = _down(cells, s4, nodes, n4)
                    n5 = _down(cells, s5, nodes, n5)
                    n6 = _down(cells, s6, nodes, n6)
                    n7 = _down(cells, s7, nodes, n7)
                out[i] += depth[n0]
                out[i + _u(1)] += depth[n1]
                out[i + _u(2)] += depth[n2]
                out[i + _u(3)] += depth[n3]
                out[i + _u(4)] += depth[n4]
                out[i + _u(5)] += depth[n5]
                out[i + _u(6)] += depth[n6]
                out[i + _u(7)] += depth[n7]
                i += _u(8)
            while i < _u(end):
                node = root
                for _ in range(down):
                    node = _down(cells, i * step, nodes, node)
                out[i] += depth[node]
                i += _u(1)
        out[block:end] /= len(roots)
