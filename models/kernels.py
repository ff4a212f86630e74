"""How functions over arrays are compiled with numba: when they are first asked for, and for one signature."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pickle import UnpicklingError
from typing import Any, TypeVar

from numba import njit, types

_Function = TypeVar("_Function", bound=Callable[..., None])

FLAGS: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy", "nogil": True}
"""How kernels and their parts are compiled: products may fuse into sums, but nothing is reordered, so that a
window's score does not depend on the windows scored along with it; division checks nothing, or no loop that
divides would vectorise."""

part: Callable[[_Function], _Function] = njit(**FLAGS)
summed: Callable[[_Function], _Function] = njit(**{**FLAGS, "fastmath": {"contract", "reassoc"}})
"""Parts of kernels, compiled into those that call them; in a `summed` one a sum may go in any order, yet the
same one for every window."""

Kernel = Callable[..., None]

# Nowhere to write, such as a read-only image without a home; or what was written cannot be read, such as
# a file that is damaged, or kept by a process that knew this package under another name.
_NO_CACHE = (RuntimeError, ImportError, EOFError, UnpicklingError)

FLOATS = types.Array(types.float32, 1, "C", readonly=True)
MATRIX = types.Array(types.float32, 2, "C", readonly=True)
WINDOWS = types.Array(types.float32, 3, "A", readonly=True)  # a view, too, of rows that overlap
ERRORS = types.float32[:, ::1]
SCORES = types.float64[::1]


def layers_of(count: int) -> Any:
    """So many layers, each its weight (inputs, outputs) and its bias."""
    return types.UniTuple(types.Tuple((MATRIX, FLOATS)), count)


def compiled(*arguments: Any) -> Callable[[Callable[..., None]], Callable[[], Kernel]]:
    """Compiled for one signature when first asked for, and kept on disk where there is a folder for it."""

    def deferred(function: Callable[..., None]) -> Callable[[], Kernel]:
        @cache
        def kernel() -> Kernel:
            signature = types.void(*arguments)
            try:
                return njit(signature, cache=True, **FLAGS)(function)  # type: ignore[no-any-return]
            except _NO_CACHE:
                return njit(signature, **FLAGS)(function)  # type: ignore[no-any-return]

        return kernel

    return deferred
