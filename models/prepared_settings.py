"""A preparation's parts from what an artifact stores of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .decomposition import Decomposition
from .features import Scaler
from .missing import Missing
from .restoring import Kind, taken
from .rolling import Statistic

Parts = tuple[Missing, Decomposition | None, tuple[Statistic, ...], Scaler, int]


def restored(settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Parts:
    """See `preparation.Preparation.restore`."""
    seasonal = settings.get("decompose", "none") != "none"
    expected = {"scaler", "missing", "statistics", "decompose"}
    expected |= {"periods", "clocked"} if seasonal else set()
    expected |= {"baseline"} & set(settings)  # older ones have none
    if set(settings) != expected:
        raise ValueError(f"preparation has settings {sorted(settings)}: they must be {sorted(expected)}")
    statistics = settings["statistics"]
    if not isinstance(statistics, list):
        raise ValueError(f"statistics is {statistics!r}: it must be a list such as ['mean:10']")
    kinds: dict[str, Kind] = {"center": (np.float64, (None,)), "scale": (np.float64, (None,))}
    if seasonal:
        kinds |= {"cycle": (np.float64, (None, None)), "noise": (np.float64, (None,))}
    whole = taken("preparation", arrays, kinds)
    return (
        Missing.parse(settings["missing"]),
        Decomposition.restore(settings, whole) if seasonal else None,
        tuple(Statistic.parse(one) for one in statistics),
        Scaler.restore(settings["scaler"], whole),
        settings.get("baseline", 0),
    )
