"""The files of the functions that remember more than their Detectors say, and where copies of them are kept:
a pod's own folder goes with the pod."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .settings import Settings

if TYPE_CHECKING:
    from ..observing.kept import Kept

REMEMBERING = ("detect-drift", "take-label")
"""Each is one warm replica."""


def state_file(function: str) -> Path:
    """On the pod's emptyDir, which outlives its container."""
    return Path(tempfile.gettempdir()) / "homeostat" / f"{function}.db"


def kept_state(function: str, settings: Settings) -> Kept | None:
    """None for a function that decides on its Detector alone, and loads no SQLite."""
    if function not in REMEMBERING:
        return None
    from ..observing.kept import Kept

    return Kept(state_file(function), f"{settings.state_root}/{function}")
