"""tanh and the soft bound, compiled, against numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.models.activations import bound, tanh
from homeostat.models.layers import FARTHEST

finite = st.floats(-1e6, 1e6, width=32)
values = st.lists(finite, min_size=1, max_size=40)


@settings(deadline=None)  # the first call compiles
@given(values)
def test_tanh_is_numpys(numbers: list[float]) -> None:
    x = np.array(numbers, np.float32)
    tanh(x, len(x))
    assert x == pytest.approx(np.tanh(np.array(numbers)), abs=5e-7)


@settings(deadline=None)  # the first call compiles
@given(values)
def test_the_bound_is_that_of_training(numbers: list[float]) -> None:
    x = np.array(numbers, np.float32)
    bound(x, np.empty(len(x), np.int32), len(x))
    expected = FARTHEST * np.arcsinh(np.array(numbers, np.float32).astype(float) / FARTHEST)
    assert x == pytest.approx(expected, rel=1e-6, abs=2e-6)


@settings(deadline=None)  # the first call compiles
@given(finite, finite)
def test_the_bound_keeps_order_and_sign(one: float, other: float) -> None:
    x = np.array([one, other, -one], np.float32)
    bound(x, np.empty(3, np.int32), 3)
    assert x[0] == -x[2]
    if one < other:
        assert x[0] <= x[1] + 1e-5
    assert abs(x[0]) <= abs(one) + 2e-6


def test_what_lies_beyond_n_is_left_alone() -> None:
    x = np.array([1.0, 2.0, 3.0], np.float32)
    tanh(x, 2)
    bound(x, np.empty(3, np.int32), 2)
    assert x[2] == 3.0
