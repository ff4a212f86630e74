"""alibi-detect draws from the global generators of torch and numpy: it is lent our seed, and they go on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def lent(seed: int) -> Iterator[None]:
    import torch

    torch.set_num_threads(1)  # the host serves other work on the same cores
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=[]):
        before = np.random.get_state()
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before)
