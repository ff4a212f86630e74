"""What a search found, taken apart: the algorithm's own parameters, and those that change the spec."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

PREPARING: Mapping[str, tuple[str, str, Callable[[Any], Any]]] = MappingProxyType(
    {
        "window": ("features", "window", lambda value: int(float(value))),
        "scaler": ("features", "scaler", str),
        "smoothing": ("threshold", "smoothing", lambda value: int(float(value))),
        "false_alarm_rate": ("threshold", "false_alarm_rate", float),
    }
)
"""Of the parameters that trials search, those that are no algorithm's: section and field of the spec. Katib
hands all of them over as text."""


def apart(
    spec: Mapping[str, Any], parameters: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The spec as these parameters change it, and those that are left for the algorithm."""
    changed: dict[str, Any] = dict(spec)
    for name, value in parameters.items():
        if name in PREPARING:
            section, field, read = PREPARING[name]
            changed[section] = {**changed.get(section, {}), field: read(value)}
    return changed, {name: value for name, value in parameters.items() if name not in PREPARING}
