"""How networks are trained: Adam at a one-cycle pace, on one thread, leaving torch as it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .algorithm import Float32Array
from .layers import FARTHEST

Player = tuple[Sequence[Any], Callable[[Any], Any]]
"""Parameters, and the loss of a (b, w, c) batch that a step lowers by moving them and no others."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`least` and `most` steps bound what `epochs` ask for: a few hundred windows make few steps per epoch,
    and a million so many that their training would take hours.

    >>> Pace(epochs=20, learning_rate=1e-3, batch=128, least=600, most=4000).steps(6400)
    1000
    """

    epochs: int
    learning_rate: float
    batch: int
    least: int
    most: int

    def steps(self, windows: int) -> int:
        """How many steps to take on so many windows."""
        return min(max(self.epochs * math.ceil(windows / self.batch), self.least), self.most)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch on one thread (several add up in any order, so to other last bits) with a random state of its
    own; both are put back."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def descend(players: Sequence[Player], windows: Float32Array, pace: Pace) -> None:
    """Takes the steps of `pace`, each on a batch of (n, w, c) windows, softly bounded: the players move in
    their order, more than one where they play against each other. Only the batch is ever copied."""
    import torch

    steps = pace.steps(len(windows))
    optimizers = [
        torch.optim.Adam(parameters, lr=pace.learning_rate, fused=True) for parameters, _ in players
    ]
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(one, max_lr=pace.learning_rate, total_steps=steps)
        for one in optimizers
    ]
    for batch in _batches(windows, pace.batch, steps):
        for (_, loss), optimizer, schedule in zip(players, optimizers, schedules, strict=True):
            optimizer.zero_grad()
            loss(batch).backward()
            optimizer.step()
            schedule.step()


def bounded(windows: Float32Array) -> Any:
    """The windows as a tensor, bounded as the compiled code bounds what it scores."""
    import torch

    values = torch.from_numpy(np.array(windows, np.float32, order="C"))
    return torch.asinh(values / FARTHEST) * FARTHEST


def _batches(windows: Float32Array, size: int, steps: int) -> Iterator[Any]:
    """So many batches: all windows in a random order, then in another one."""
    import torch

    taken = 0
    while taken < steps:
        order = torch.randperm(len(windows)).numpy()
        for start in range(0, len(windows), size):
            yield bounded(windows[order[start : start + size]])
            taken += 1
            if taken == steps:
                return
