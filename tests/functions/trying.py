"""A canary on trial, and what its host may have measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeostat.eventing.messages import CanaryTick
from homeostat.functions.canary import CanaryFacts
from homeostat.functions.detector import Detector, Message, RevisionFigures
from homeostat.functions.roll_out import decide
from tests.functions.detectors import MINUTE, NOON, canary, detector, figures, revision, spec

TICK = CanaryTick()
ZERO = RevisionFigures()
GOOD = CanaryFacts(ready=True, stable=figures(3000), canary=figures(200))
BROKEN = CanaryFacts(ready=True, stable=figures(3000), canary=figures(200, errors=100))
FEW = CanaryFacts(ready=True, stable=figures(300), canary=figures(20))


def on_trial(section: Mapping[str, Any] | None = None, mode: str = "act", **fields: Any) -> Detector:
    """A canary of r2 beside r1 that was ready at noon; it is a minute past."""
    now = fields.pop("now", NOON + MINUTE)
    status = {"previous": revision("r0"), **fields.pop("status", {})}
    trial = canary(**{"base_canary": ZERO, "base_stable": ZERO, **fields})
    asked = spec(mode, canary=section or {})
    return detector(now=now, asked=asked, canary=trial, serving=revision("r1"), **status)


def roll(event: Any, one: Detector, facts: CanaryFacts | None = None) -> list[Message]:
    return list(decide(event, one, facts))
