"""Searches that follow a plan go on where they were, from what was tried alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from homeostat.infra.local.tuning_experiment import experiment
from homeostat.infra.local.tuning_plans import Not, Plan, plan
from homeostat.infra.local.tuning_state import Trial
from tests.infra.experiments import AXES, MODULES, manifest


def planned(algorithm: str, seed: int = 1, **settings: str) -> Plan:
    document = manifest("search", algorithm, settings, AXES)
    found = plan(experiment(document, MODULES), seed)
    assert found is not None
    return found


def tried(slot: int, params: Any, value: float | None, condition: str = "Succeeded") -> Trial:
    return Trial(f"t-{slot}", slot, slot, dict(params), {}, condition, value)


def walk(
    make: Callable[[], Plan], value: Callable[[dict[str, Any]], float | None], most: int = 1000
) -> list[Trial]:
    """Follow a plan to its end, with a new plan at each step as after a crash."""
    trials: list[Trial] = []
    while len(trials) < most and not isinstance(found := make().following(trials), Not):
        slot, params = found
        result = value(dict(params))
        trials.append(tried(slot, params, result, "Succeeded" if result is not None else "Failed"))
    return trials


def test_a_grid_visits_every_place_once_and_then_ends() -> None:
    trials = walk(lambda: planned("grid"), lambda _: 0.0)
    places = {tuple(one.params.values()) for one in trials}
    assert len(trials) == len(places) == 21 * 9 * 2
    assert planned("grid").following(trials) is Not.ANY_MORE


@pytest.mark.parametrize("seed", range(5))
def test_the_first_places_of_a_grid_are_all_over_it(seed: int) -> None:
    trials = walk(lambda: planned("grid", seed), lambda _: 0.0, most=40)
    assert {one.params["word"] for one in trials} == {"a", "b"}
    assert {one.params["n"] for one in trials} == set(range(1, 10))
    assert len({one.params["x"] for one in trials}) > 10


def test_sobols_points_fill_every_part_of_the_space() -> None:
    trials = walk(lambda: planned("sobol"), lambda _: 0.0, most=64)
    cells = {(int(float(one.params["x"]) * 3.999), one.params["word"]) for one in trials}
    assert len(cells) == 8
    again = walk(lambda: planned("sobol"), lambda _: 0.0, most=64)
    assert [one.params for one in again] == [one.params for one in trials]


def hyperband() -> Plan:
    return planned("hyperband", r_l="9", eta="3", resource_name="n")


def test_hyperbands_brackets_are_those_of_its_paper() -> None:
    trials = walk(hyperband, lambda params: float(params["x"]))
    amounts = [one.params["n"] for one in trials]
    assert amounts == [1] * 9 + [3] * 3 + [9] + [3] * 5 + [9] + [9] * 3
    best = sorted(float(one.params["x"]) for one in trials[:9])[:3]
    assert [float(one.params["x"]) for one in trials[9:12]] == best
    assert float(trials[12].params["x"]) == best[0]


def test_hyperband_waits_for_a_whole_rung() -> None:
    trials = walk(hyperband, lambda params: float(params["x"]), most=9)
    trials[4].condition = "Running"
    assert hyperband().following(trials) is Not.NOW


def test_hyperband_goes_on_with_those_that_came_through() -> None:
    # Of nine only two succeed: two are promoted where there was room for three.
    count = iter(range(1000))
    trials = walk(hyperband, lambda _: 1.0 if (n := next(count)) < 2 or n >= 9 else None)
    amounts = [one.params["n"] for one in trials]
    assert amounts == [1] * 9 + [3] * 2 + [9] + [3] * 5 + [9] + [9] * 3
