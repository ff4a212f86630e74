"""Flags in random ranges, reproducibly: the inputs for which peers' figures were recorded."""

from __future__ import annotations

import numpy as np


def marked(seed: int, n: int, count: int, longest: int) -> np.ndarray:
    """(n,) of 0 and 1, with `count` ranges of 1 to `longest` - 1 rows that may overlap."""
    rng = np.random.default_rng(seed)
    flags = np.zeros(n, int)
    for _ in range(count):
        start = rng.integers(0, n)
        flags[start : start + rng.integers(1, longest)] = 1
    return flags


def spread(n: int, *ranges: tuple[int, int]) -> np.ndarray:
    """(n,) of 0 and 1, 1 from each start up to its stop."""
    flags = np.zeros(n, int)
    for start, stop in ranges:
        flags[start:stop] = 1
    return flags
