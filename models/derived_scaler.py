"""The scaler for channels that were derived from raw ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .choices import ScalerKind
from .features import Scaler

_CONSTANT = 1e-9  # of a raw channel's level: a derived channel that varies by less holds only rounding


def scaled(derived: NDArray[np.float64], raw: NDArray[np.float64], kind: ScalerKind) -> Scaler:
    """A scaler for derived channels that knows the raw one behind each: where that one did not vary, or was
    all season, what is left of it is rounding, and must not be blown up to the size of a signal."""
    found = Scaler.fit(derived, kind)
    if kind == "none":
        return found
    level = np.median(np.abs(raw), axis=0)
    least = _CONSTANT * np.tile(level, derived.shape[1] // raw.shape[1])
    return replace(found, scale=np.maximum(found.scale, least))
