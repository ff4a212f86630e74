"""A canary that should begin in the shadow, in a home that sends no copies."""

from __future__ import annotations

from homeostat.eventing.messages import CanaryAdvanced, CanaryJudged, CanaryTick, ShiftTraffic
from homeostat.functions import roll_out
from homeostat.functions.canary import CanaryFacts
from homeostat.functions.detector import Remember, RevisionFigures
from tests.functions.detectors import canary, detector, only, revision, spec

SHADOWED = spec(canary={"steps": [5, 50], "shadow": 300})


def test_where_nobody_copies_requests_a_shadow_gets_its_first_percent_at_once_and_that_is_told() -> None:
    here = detector(asked=SHADOWED, serving=revision(), canary=canary(percent=0, shadow=True))
    seen = CanaryFacts(ready=True, canary=RevisionFigures(), stable=RevisionFigures(), copies=False)
    messages = list(roll_out.decide(CanaryTick(), here, seen))
    trial = only(Remember, messages).status.canary
    assert trial is not None
    assert (trial.percent, trial.shadow) == (5, False)
    assert only(ShiftTraffic, messages).percent == only(CanaryAdvanced, messages).percent == 5
    assert "no copies" in only(CanaryJudged, messages).reason


def test_it_waits_until_it_is_ready_and_while_people_paused_it() -> None:
    for ready, paused in ((False, False), (True, True)):
        trial = canary(percent=0, shadow=True, paused=paused)
        here = detector(asked=SHADOWED, serving=revision(), canary=trial)
        messages = list(roll_out.decide(CanaryTick(), here, CanaryFacts(ready=ready, copies=False)))
        assert not any(isinstance(message, ShiftTraffic) for message in messages)
