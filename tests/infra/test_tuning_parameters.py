"""The axes of a search: every value that is tried lies where the manifest allows it."""

from __future__ import annotations

import math
from statistics import mean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.errors import Fault
from homeostat.infra.local.tuning_parameters import DISTRIBUTIONS, Parameter, parameters


def axis(kind: str, **space: Any) -> Parameter:
    faults: list[Fault] = []
    (found,) = parameters(
        {"parameters": [{"name": "x", "parameterType": kind, "feasibleSpace": space}]}, faults
    )
    assert faults == []
    return found


@given(
    st.sampled_from(["int", "double"]),
    st.integers(1, 50),
    st.integers(0, 1000),
    st.sampled_from(["", "1", "3", "7"]),
    st.sampled_from(sorted(DISTRIBUTIONS)),
    st.floats(0, 1, exclude_max=True),
)
def test_every_value_is_within_its_bounds_and_on_its_step(
    kind: str, low: int, width: int, step: str, shape: str, share: float
) -> None:
    found = axis(kind, min=str(low), max=str(low + width), step=step, distribution=shape)
    text = found.text(found.spread(share))
    assert low <= float(text) <= low + width
    if kind == "int":
        assert text == str(int(text))
    if found.step:
        steps = (float(text) - low) / found.step
        assert steps == pytest.approx(round(steps), abs=1e-9)


@given(st.integers(-20, 20), st.integers(0, 30), st.integers(1, 7))
def test_a_grid_has_every_step_from_min_to_max(low: int, width: int, step: int) -> None:
    found = axis("int", min=str(low), max=str(low + width), step=str(step))
    assert [found.text(one) for one in found.grid()] == [
        str(one) for one in range(low, low + width + 1, step)
    ]
    assert found.places == len(list(found.grid()))


def test_steps_of_doubles_have_no_dust() -> None:
    found = axis("double", min="0.1", max="0.5", step="0.1")
    assert [found.text(one) for one in found.grid()] == ["0.1", "0.2", "0.3", "0.4", "0.5"]


def test_a_logarithm_spreads_over_the_magnitudes() -> None:
    found = axis("double", min="0.0001", max="1", distribution="logUniform")
    below = [float(found.text(found.spread(share / 100))) < 0.01 for share in range(100)]
    assert mean(below) == pytest.approx(0.5, abs=0.02)
    assert axis("int", min="0", max="9", distribution="logUniform").low == 1


@pytest.mark.parametrize("shape", ["normal", "logNormal"])
def test_a_normal_distribution_has_two_thirds_within_a_deviation(shape: str) -> None:
    found = axis("double", min="1", max="64", distribution=shape)
    values = [float(found.text(found.spread(share / 1000))) for share in range(1000)]
    if shape == "logNormal":
        values = [math.log2(one) for one in values]
    low, high = (1, 64) if shape == "normal" else (0, 6)
    middle, deviation = (low + high) / 2, (high - low) / 6
    assert mean(values) == pytest.approx(middle, rel=0.01)
    assert mean(abs(one - middle) < deviation for one in values) == pytest.approx(0.683, abs=0.01)


def test_every_listed_value_has_the_same_share() -> None:
    found = axis("discrete", list=["1", "2.50", "1e3"])
    assert [found.text(found.spread(share)) for share in (0, 0.34, 0.67, 0.999)] == [
        "1",
        "2.50",
        "1e3",
        "1e3",
    ]
