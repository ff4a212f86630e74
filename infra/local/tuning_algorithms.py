"""The search algorithms by Katib's names, and which of Katib's settings each understands.

Settings that only choose a detail of another library (scikit-optimize's acquisition function, goptuna's
restarts) are checked and let be: the manifest stays the same, and Optuna has its own way there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from homeostat.eventing.errors import Fault, shown

from .tuning_parameters import NUMERIC, Parameter

Read = Callable[[str], Any]


def _reader(kind: Callable[[str], Any], right: Callable[[Any], bool], mend: str) -> Read:
    def read(text: str) -> Any:
        try:
            if right(found := kind(text)):
                return found
        except (TypeError, ValueError):
            pass
        raise ValueError(mend)

    return read


def _one_of(*names: str) -> Read:
    return _reader(str, lambda text: text in names, f"use one of {', '.join(names)}")


_whole = _reader(int, lambda found: found >= 0, "give a whole number, 0 or more")
_count = _reader(int, lambda found: found >= 1, "give a whole number, 1 or more")
_positive = _reader(float, lambda found: 0 < found < math.inf, "give a number above 0")
_from_one = _reader(float, lambda found: 1 <= found < math.inf, "give a number, 1 or more")
_above_one = _reader(float, lambda found: 1 < found < math.inf, "give a number above 1")
_share = _reader(float, lambda found: 0 < found < 1, "give a number between 0 and 1")
_SEED: Mapping[str, Read] = {"random_state": _whole}
_TPE: Mapping[str, Read] = {
    **_SEED,
    "n_startup_trials": _whole,
    "n_ei_candidates": _whole,
    "n_EI_candidates": _whole,
    "gamma": _share,
    "prior_weight": _positive,
}
ALGORITHMS: Mapping[str, Mapping[str, Read]] = MappingProxyType(
    {
        "random": _SEED,
        "grid": _SEED,
        "tpe": _TPE,
        "multivariate-tpe": _TPE,
        "bayesianoptimization": {
            **_SEED,
            "n_initial_points": _whole,
            "base_estimator": _one_of("GP"),
            "acq_func": _one_of("gp_hedge", "LCB", "EI", "PI", "EIps", "PIps"),
            "acq_optimizer": _one_of("auto", "sampling", "lbfgs"),
        },
        "cmaes": {
            **_SEED,
            "sigma": _positive,
            "restart_strategy": _one_of("ipop", "bipop", "None", "none"),
        },
        "sobol": _SEED,
        "hyperband": {**_SEED, "r_l": _from_one, "eta": _above_one, "resource_name": str},
    }
)
"""What one machine can search with, and how the settings of each are read."""

EARLY_STOPPING: Mapping[str, Read] = {"min_trials_required": _count, "start_step": _count}


def algorithm(
    spec: Mapping[str, Any], axes: Sequence[Parameter], most: int | None, faults: list[Fault]
) -> tuple[str, Mapping[str, Any]]:
    """The algorithm's name and settings; what is wrong with them, or with the axes for it, is added to the
    faults."""
    given = spec.get("algorithm") or {}
    name: Any = given.get("algorithmName")
    if name not in ALGORITHMS:
        mend = f"there is no such algorithm on one machine; there are {', '.join(ALGORITHMS)}"
        faults.append(Fault("spec.algorithm.algorithmName", shown(name), mend))
        return "", {}
    settings = read_settings(given, ALGORITHMS[name], "spec.algorithm", faults)
    if special := _SPECIAL.get(name):
        special(settings, axes, most, faults)
    return name, settings


def read_settings(
    given: Mapping[str, Any], known: Mapping[str, Read], path: str, faults: list[Fault]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for place, one in enumerate(given.get("algorithmSettings") or ()):
        name, value = one.get("name"), one.get("value")
        where = f"{path}.algorithmSettings[{place}]"
        if name not in known:
            mend = f"{given.get('algorithmName')} knows {', '.join(known)}"
            faults.append(Fault(f"{where}.name", shown(name), mend))
            continue
        try:
            found[name] = known[name](value)
        except ValueError as error:
            faults.append(Fault(f"{where}.value", shown(value), f"{name}: {error}"))
    return found


def _for_grid(_: object, axes: Sequence[Parameter], most: int | None, faults: list[Fault]) -> None:
    for axis in axes:
        if axis.kind == "double" and axis.step is None:
            mend = f"a grid needs a step for {axis.name}, which is a double"
            faults.append(Fault("spec.parameters", "without step", mend))
            return
    places = math.prod(axis.places for axis in axes)
    if most is not None and most > places:
        mend = f"the grid has {places} places: give no more trials than that"
        faults.append(Fault("spec.maxTrialCount", shown(most), mend))


def _for_cmaes(_: object, axes: Sequence[Parameter], __: object, faults: list[Fault]) -> None:
    if sum(axis.kind in NUMERIC for axis in axes) < 2:
        mend = "cmaes needs two parameters or more that are int or double"
        faults.append(Fault("spec.parameters", shown([axis.name for axis in axes]), mend))


def _for_hyperband(
    settings: Mapping[str, Any], axes: Sequence[Parameter], _: object, faults: list[Fault]
) -> None:
    for needed in ("r_l", "resource_name"):
        if needed not in settings:
            mend = f"hyperband needs the setting {needed}"
            faults.append(Fault("spec.algorithm.algorithmSettings", shown(sorted(settings)), mend))
    names = [axis.name for axis in axes]
    if (name := settings.get("resource_name")) is not None and name not in names:
        mend = f"resource_name is one of the parameters, {', '.join(names)}"
        faults.append(Fault("spec.algorithm.algorithmSettings", shown(name), mend))


_SPECIAL: Mapping[str, Callable[[Mapping[str, Any], Sequence[Parameter], int | None, list[Fault]], None]] = {
    "grid": _for_grid,
    "cmaes": _for_cmaes,
    "hyperband": _for_hyperband,
}
