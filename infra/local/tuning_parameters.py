"""Katib's parameters: what may be tried for each, and a value as the text that a trial is given.

A search works on plain numbers and words. A normal distribution is searched as its quantile, evenly, so that
every algorithm can: as Katib's, it has its six deviations between min and max.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from homeostat.eventing.errors import Fault, shown

Value = str | int | float

NUMERIC, LISTED = ("int", "double"), ("categorical", "discrete")
DISTRIBUTIONS: Mapping[str, tuple[bool, bool]] = {
    "uniform": (False, False),
    "logUniform": (True, False),
    "normal": (False, True),
    "logNormal": (True, True),
}
"""Of each distribution: whether it is one of the logarithm, and whether it is a normal one."""

_NORMAL = NormalDist()
_WIDEST = _NORMAL.cdf(-3)
LEAST = {"int": 1.0, "double": 1e-10}
"""Where a logarithm begins when `min` is lower, as in Katib."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One axis. `values` are a categorical or discrete one's; the bounds are those of numbers."""

    name: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    normal: bool = False
    values: tuple[str, ...] = ()

    @property
    def quantiles(self) -> tuple[float, float]:
        """Between which the search of a normal distribution moves."""
        return _WIDEST, 1 - _WIDEST

    def spread(self, share: float) -> Value:
        """The value at this share (0 to 1) of the axis, as a search has it."""
        if self.values:
            return self.values[min(int(share * len(self.values)), len(self.values) - 1)]
        if self.normal:
            low, high = self.quantiles
            return low + share * (high - low)
        if self.kind == "int" and not self.log:
            # Every whole number has the same share of the axis, the last one as well.
            places = int((self.high - self.low) // self._step) + 1
            return int(self.low + min(int(share * places), places - 1) * self._step)
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        found = low + share * (high - low)
        return self._rounded(math.exp(found) if self.log else found)

    def grid(self) -> Iterator[Value]:
        """Every value of a grid: those listed, or all steps from min to max."""
        if self.values:
            yield from self.values
            return
        for place in range(self.places):
            yield self._rounded(self.low + place * self._step)

    @property
    def places(self) -> int:
        """How many values the grid has."""
        return len(self.values) or int((self.high - self.low) / self._step + 1e-9) + 1

    def text(self, value: Value) -> str:
        """What a trial is given for the value that the search has."""
        if isinstance(value, str):
            return value
        if not self.normal:
            found = self._rounded(value)
        else:
            low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
            bent = (low + high) / 2 + _NORMAL.inv_cdf(value) * (high - low) / 6
            found = self._rounded(math.exp(bent) if self.log else bent)
        return str(found) if isinstance(found, int) else repr(float(f"{found:.12g}"))

    @property
    def _step(self) -> float:
        return self.step or 1.0

    def _rounded(self, value: float) -> int | float:
        step = self.step or (1.0 if self.kind == "int" else None)
        if step:
            value = self.low + round((value - self.low) / step) * step
            if value > self.high + step * 1e-9:
                value -= step
        value = min(max(value, self.low), self.high)
        return round(value) if self.kind == "int" else value


def parameters(spec: Mapping[str, Any], faults: list[Fault]) -> tuple[Parameter, ...]:
    """The parameters of an Experiment's spec; what is wrong with them is added to the faults."""
    given = spec.get("parameters") or []
    if not given:
        mend = "name at least one parameter; this engine searches no architectures (spec.nasConfig)"
        faults.append(Fault("spec.parameters", shown(given), mend))
    found = [_parameter(one, f"spec.parameters[{place}]", faults) for place, one in enumerate(given)]
    names = [one.name for one in found if one]
    twice = sorted({name for name in names if names.count(name) > 1})
    faults += [
        Fault("spec.parameters", shown(name), "give each parameter a name of its own") for name in twice
    ]
    return tuple(one for one in found if one)


def _parameter(given: Mapping[str, Any], path: str, faults: list[Fault]) -> Parameter | None:
    name, kind = given.get("name") or "", given.get("parameterType")
    space = given.get("feasibleSpace") or {}
    if not name:
        faults.append(Fault(f"{path}.name", shown(name), "give it a name"))
        return None
    if kind in NUMERIC:
        return _numeric(name, kind, space, f"{path}.feasibleSpace", faults)
    if kind in LISTED:
        values = tuple(map(str, space.get("list") or ()))
        if not values:
            faults.append(Fault(f"{path}.feasibleSpace.list", shown(space.get("list")), "list its values"))
        return Parameter(name, kind, values=values)
    faults.append(Fault(f"{path}.parameterType", shown(kind), f"use one of {', '.join(NUMERIC + LISTED)}"))
    return None


def _numeric(
    name: str, kind: str, space: Mapping[str, Any], path: str, faults: list[Fault]
) -> Parameter | None:
    before = len(faults)
    low, high = (_number(space.get(bound), kind, f"{path}.{bound}", faults) for bound in ("min", "max"))
    step = _number(space["step"], kind, f"{path}.step", faults) if space.get("step") else None
    shape = space.get("distribution") or "uniform"
    if shape not in DISTRIBUTIONS:
        faults.append(Fault(f"{path}.distribution", shown(shape), f"use one of {', '.join(DISTRIBUTIONS)}"))
    if low is not None and high is not None and low > high:
        faults.append(Fault(f"{path}.max", shown(space.get("max")), f"give no less than min, {low:g}"))
    if step is not None and step <= 0:
        faults.append(Fault(f"{path}.step", shown(space["step"]), "give a step above 0, or none"))
    if len(faults) > before or low is None or high is None:
        return None
    log, normal = DISTRIBUTIONS[shape]
    if log:
        low = max(low, LEAST[kind])
        if high < low:
            faults.append(Fault(f"{path}.max", shown(space["max"]), f"{shape} needs {LEAST[kind]:g} or more"))
            return None
        step = step if normal else None  # Katib's logUniform has no steps either
    return Parameter(name, kind, low, high, step, log, normal)


def _number(text: object, kind: str, path: str, faults: list[Fault]) -> float | None:
    try:
        found = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found) or (kind == "int" and found != int(found)):
        mend = "give a whole number, as text" if kind == "int" else "give a number, as text"
        faults.append(Fault(path, shown(text), mend))
        return None
    return found
