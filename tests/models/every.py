"""Every detector by name, and windows for tests that ask all of them the same."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from homeostat.models import ALGORITHMS
from homeostat.models.algorithm import Algorithm, create
from homeostat.models.features import windows
from homeostat.models.fitted import Fitted
from homeostat.models.fitting import fit
from tests.models.quick import QUICK

PYOD = ("pyod:ECOD", "pyod:IForest", "pyod:KNN", "pyod:LOF")
NAMES = (*ALGORITHMS, *PYOD)
every = pytest.mark.parametrize("name", NAMES)
every_own = pytest.mark.parametrize("name", list(ALGORITHMS))


def every_but(*exempt: str) -> pytest.MarkDecorator:
    """For a check that some detectors cannot pass by their nature; say it beside."""
    return pytest.mark.parametrize("name", [name for name in NAMES if name not in exempt])


Windows = NDArray[np.float32]


def parameters(name: str) -> dict[str, Any]:
    return {"samples": 200} if name in PYOD else QUICK.get(name, {})


def normal(n: int = 600, c: int = 3, window: int = 8, seed: int = 0) -> Windows:
    """A view of windows over n rows of noise."""
    return windows(np.random.default_rng(seed).normal(size=(n, c)).astype(np.float32), window)


def rhythm(n: int = 600, seed: int = 0) -> Windows:
    """Windows of 8 rows over three channels that go round together, under noise: what is unlike them is so
    in any view of them, where noise alone gives a subspace nothing to hold on to."""
    turn = 2 * np.pi * np.arange(n)[:, None] / 25 + np.arange(3)
    rows = np.sin(turn) + 0.3 * np.random.default_rng(seed).normal(size=(n, 3))
    return windows(rows.astype(np.float32), 8)


def fitted(name: str, made: Windows, seed: int = 0) -> Algorithm:
    one = create(name, parameters(name), seed)
    one.fit(made)
    return one


@cache
def usual(name: str, n: int = 600, c: int = 3, window: int = 8) -> Algorithm:
    """The detector fitted on `normal(n, c, window)`, once for all tests that only ask it."""
    return fitted(name, normal(n, c, window))


@cache
def rhythmic(name: str) -> Algorithm:
    """The detector fitted on `rhythm()`."""
    return fitted(name, rhythm())


@cache
def detector(name: str) -> Fitted:
    """With scaler and threshold, fitted on 200 rows of two channels."""
    rows = np.random.default_rng(0).normal([0, 50], [1, 10], size=(200, 2))
    return fit(name, rows, channels=("flow", "heat"), window=5, parameters=parameters(name))
