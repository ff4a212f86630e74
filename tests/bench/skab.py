"""Where SKAB lies: beside the checkout, or where HOMEOSTAT_SHARED says."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
SKAB = Path(os.environ.get("HOMEOSTAT_SHARED", ROOT.parent / "shared")) / "data/skab"
