"""What an anomaly detector is to the rest of Homeostat: fit, score, and a state made of plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any, ClassVar, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray

from . import ALGORITHMS, FAMILIES

Float32Array = NDArray[np.float32]
Scores = NDArray[np.float64]


class Algorithm(Protocol):
    """A detector over scaled windows. Every implementation is a dataclass whose fields are its parameters,
    `seed` among them; what it learns is told by `arrays`, so that an artifact holds data and no code."""

    name: ClassVar[str]

    @property
    def shape(self) -> tuple[int, int]:
        """(w, c), the window length and channel count that it was fitted on."""
        ...

    def fit(self, windows: Float32Array) -> None:
        """Learns what normal looks like from (n, w, c) windows of scaled rows."""
        ...

    def score(self, windows: Float32Array) -> Scores:
        """(n,) scores of (n, w, c) windows; higher is more anomalous."""
        ...

    def contributions(self, windows: Float32Array) -> Scores:
        """(n, c) shares of the channels in the scores of (n, w, c) windows: not negative, rows sum to 1."""
        ...

    def settings(self) -> dict[str, Any]:
        """Parameters and learned scalars, as JSON."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Learned arrays; `restore(settings(), arrays())` scores alike to the last bit."""
        ...

    @classmethod
    def restore(cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The fitted detector again. Raises ValueError when the two do not fit together."""
        ...


def algorithm(name: str) -> type[Algorithm]:
    """The class behind a name; ValueError lists those that exist."""
    family, _, member = name.partition(":")
    if member and family in FAMILIES:
        return cast("type[Algorithm]", _loaded(FAMILIES[family])(member))
    if name not in ALGORITHMS:
        families = "".join(f", {one}:NAME" for one in FAMILIES)
        raise ValueError(f"no algorithm {name!r}: choose one of {', '.join(ALGORITHMS)}{families}")
    return cast("type[Algorithm]", _loaded(ALGORITHMS[name]))


def _loaded(place: str) -> Any:
    """What lies at `module:name`."""
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


def create(name: str, parameters: Mapping[str, Any], seed: int) -> Algorithm:
    """An unfitted detector. ValueError lists the parameters that its algorithm takes."""
    chosen = algorithm(name)
    known = [field.name for field in fields(cast("Any", chosen)) if field.init and field.name != "seed"]
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ValueError(f"{name} has no parameter {', '.join(unknown)}: it takes {', '.join(known)}")
    return cast("Any", chosen)(**parameters, seed=seed)  # type: ignore[no-any-return]


def whole(name: str, value: Any, least: int, most: int) -> int:
    """A parameter that counts something. Katib hands numbers over as text, so "64" and 64.0 are taken too."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not (number.is_integer() and least <= number <= most):
        raise ValueError(f"{name} is {value!r}: give a whole number from {least} to {most}")
    return int(number)


def positive(name: str, value: Any, most: float) -> float:
    """A parameter that is a real number in (0, most]."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not 0 < number <= most:
        raise ValueError(f"{name} is {value!r}: give a number above 0 and at most {most:g}")
    return number
