"""Searches that follow a plan: a grid, a Sobol sequence, Hyperband's brackets.

A plan knows what stands at each of its places (slots), from what was tried before and nothing else, so that
it goes on after a crash where it was.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Protocol

from .tuning_experiment import Experiment
from .tuning_parameters import Parameter, Value
from .tuning_state import Trial


class Not(Enum):
    """Why there is nothing to try: not before others have ended, or not any more."""

    NOW = "now"
    ANY_MORE = "any more"


Place = tuple[int, Mapping[str, Value]]
"""A slot, and what is tried there."""


class Plan(Protocol):
    def following(self, trials: Sequence[Trial]) -> Place | Not:
        """The place after those that were taken."""


class Grid:
    """Every combination once, in an order that chance has mixed."""

    def __init__(self, axes: Sequence[Parameter], seed: int) -> None:
        self._axes = {axis.name: list(axis.grid()) for axis in axes}
        self._size = math.prod(map(len, self._axes.values()))
        self._seed = seed

    def following(self, trials: Sequence[Trial]) -> Place | Not:
        slot = _taken(trials)
        if slot >= self._size:
            return Not.ANY_MORE
        place = self._mixed(slot)
        found = {}
        for name, values in self._axes.items():
            place, index = divmod(place, len(values))
            found[name] = values[index]
        return slot, found

    def _mixed(self, slot: int) -> int:
        """What stands at this place of the shuffled grid: Fisher and Yates as far as there, so that a grid
        of any size costs no more than the trials it had."""
        chance, moved, found = random.Random(self._seed), dict[int, int](), 0  # noqa: S311 - no secret
        for place in range(slot + 1):
            other = chance.randrange(place, self._size)
            found = moved.get(other, other)
            moved[other] = moved.get(place, place)
        return found


class Sobol:
    """Points that fill the space evenly, however many there are."""

    def __init__(self, axes: Sequence[Parameter], seed: int) -> None:
        self._axes, self._seed = axes, seed

    def following(self, trials: Sequence[Trial]) -> Place | Not:
        from scipy.stats import qmc

        slot = _taken(trials)
        points = qmc.Sobol(len(self._axes), scramble=True, seed=self._seed)
        if slot:  # scipy does not take 0 at the beginning
            points.fast_forward(slot)
        point = points.random(1)[0]
        return slot, {
            axis.name: axis.spread(float(share)) for axis, share in zip(self._axes, point, strict=True)
        }


class Hyperband:
    """Li et al. 2018 with Katib's settings: brackets from many trials with little of the resource to few with
    all of it, `r_l`; of each rung the best `1/eta` go on with `eta` times as much."""

    def __init__(self, what: Experiment, seed: int) -> None:
        self._what, self._seed = what, seed
        most, self._eta = float(what.settings["r_l"]), float(what.settings.get("eta", 3))
        self._resource = str(what.settings["resource_name"])
        self._rungs = list(_rungs(most, self._eta))

    def following(self, trials: Sequence[Trial]) -> Place | Not:
        slot, end = _taken(trials), 0
        previous = range(0)
        for first, count, amount in self._rungs:
            begin, end = end, end + count
            if slot < end:
                if first:
                    return self._new(slot, amount)
                found = self._promoted(trials, previous, slot - begin, amount, slot)
                if found is not None:
                    return found
                slot = end  # fewer came through than could go on
            previous = range(begin, end)
        return Not.ANY_MORE

    def _new(self, slot: int, amount: int) -> Place:
        chance = random.Random(f"{self._seed}/{slot}")  # noqa: S311 - a search, not a secret
        found: dict[str, Value] = {axis.name: axis.spread(chance.random()) for axis in self._what.parameters}
        return slot, {**found, self._resource: amount}

    def _promoted(
        self, trials: Sequence[Trial], rung: range, place: int, amount: int, slot: int
    ) -> Place | Not | None:
        those = [one for one in trials if one.slot in rung]
        if not all(one.finished for one in those):
            return Not.NOW
        told = [one for one in those if one.value is not None and one.condition == "Succeeded"]
        sign = -1 if self._what.objective.maximize else 1
        ranked = sorted(told, key=lambda one: (sign * (one.value or 0.0), one.number))
        return (slot, {**ranked[place].params, self._resource: amount}) if place < len(ranked) else None


def _rungs(most: float, eta: float) -> Iterator[tuple[bool, int, int]]:
    """Of every rung: whether it begins a bracket, its trials, and how much of the resource each has."""
    brackets = int(math.log(most) / math.log(eta) + 1e-9)
    for bracket in range(brackets, -1, -1):
        first = math.ceil((brackets + 1) / (bracket + 1) * eta**bracket - 1e-9)
        for rung in range(bracket + 1):
            count = max(1, int(first * eta**-rung + 1e-9))
            yield rung == 0, count, max(1, int(most * eta ** (rung - bracket) + 1e-9))


def _taken(trials: Sequence[Trial]) -> int:
    """The slot after the last one that was taken."""
    return max((one.slot for one in trials), default=-1) + 1


def plan(what: Experiment, seed: int) -> Plan | None:
    """The plan of an algorithm that follows one."""
    makers: Mapping[str, Any] = {
        "grid": lambda: Grid(what.parameters, seed),
        "sobol": lambda: Sobol(what.parameters, seed),
        "hyperband": lambda: Hyperband(what, seed),
    }
    return makers[what.algorithm]() if what.algorithm in makers else None
