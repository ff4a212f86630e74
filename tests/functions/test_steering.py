"""A canary in the shadow, steered by hand, and taken back by people or alerts."""

from __future__ import annotations

from typing import Any

import pytest

from homeostat.eventing.messages import (
    COMMANDS,
    CanaryAdvanced,
    CanaryJudged,
    CanaryPaused,
    CanaryResumed,
    ModelPromoted,
    Promote,
    RollBack,
    RollbackRequested,
    RolloutRequested,
    ShiftTraffic,
    StartCanary,
)
from homeostat.functions.canary import CanaryFacts, ShadowFigures
from homeostat.functions.detector import Detector, Judging
from tests.functions.detectors import (
    HOUR,
    MINUTE,
    NOON,
    detector,
    figures,
    later,
    none,
    only,
    passed,
    remembered,
    revision,
    spec,
)
from tests.functions.trying import BROKEN, FEW, GOOD, TICK, on_trial, roll

# --- the shadow --------------------------------------------------------------------------------------------
SHADOW = {"shadow": 300}


def copies(requests: int, errors: int = 0) -> CanaryFacts:
    seen = ShadowFigures(requests=requests, errors=errors, rows=requests, agreed=requests)
    counted = figures(requests).model_copy(update={"requests": 0, "latency": ()})
    return CanaryFacts(ready=True, stable=figures(requests), canary=counted, shadow=seen)


def in_the_shadow(**fields: Any) -> Detector:
    return on_trial(SHADOW, shadow=True, percent=0, **fields)


def test_a_canary_begins_in_the_shadow_where_one_is_asked_for() -> None:
    asked = spec(canary=SHADOW)
    one = detector(asked=asked, judging=Judging(run="r2", since=NOON), serving=revision("r1"))
    messages = roll(passed("r2"), one)
    assert only(StartCanary, messages).percent == 0
    begun = remembered(messages, one).canary
    assert begun is not None
    assert (begun.shadow, begun.percent) == (True, 0)


def test_the_first_revision_has_nothing_to_be_the_shadow_of() -> None:
    one = detector(asked=spec(canary=SHADOW), judging=Judging(run="r2", since=NOON))
    assert only(StartCanary, roll(passed("r2"), one)).percent == 100


def test_enough_copies_lead_to_the_first_percent() -> None:
    early = roll(TICK, in_the_shadow(), copies(299))
    assert none(COMMANDS, early)
    assert only(CanaryJudged, early).reason == "299 of 300 copies"
    one = in_the_shadow()
    messages = roll(TICK, one, copies(300))
    assert only(ShiftTraffic, messages).percent == only(CanaryAdvanced, messages).percent == 5
    after = remembered(messages, one).canary
    assert after is not None
    assert (after.shadow, after.base_canary) == (False, None)


def test_a_shadow_that_fails_on_its_copies_is_taken_back() -> None:
    assert only(RollBack, roll(TICK, in_the_shadow(), copies(300, errors=60))).revision == "r2"


def test_copies_that_were_not_compared_hold() -> None:
    seen = CanaryFacts(ready=True, stable=figures(300), canary=figures(0))
    assert none(COMMANDS, roll(TICK, in_the_shadow(), seen))


# --- by hand -----------------------------------------------------------------------------------------------
def hand(action: Any) -> RolloutRequested:
    return RolloutRequested(action=action, by="ada")


def test_a_paused_canary_stays_at_its_share_until_it_is_resumed() -> None:
    one = on_trial()
    messages = roll(hand("pause"), one)
    assert only(CanaryPaused, messages) == CanaryPaused(revision="r2", percent=5, by="ada")
    one = later(one, messages, MINUTE)
    assert roll(hand("pause"), one) == [], "told once"
    one = later(one, roll(TICK, one, GOOD), 30 * HOUR)
    assert none(COMMANDS, roll(TICK, one, FEW)), "no deadline while people hold it"
    messages = roll(hand("resume"), one)
    assert only(CanaryResumed, messages).percent == 5
    one = later(one, messages, MINUTE)
    assert roll(hand("resume"), one) == []
    assert only(ShiftTraffic, roll(TICK, one, GOOD)).percent == 25


def test_a_paused_canary_is_still_taken_back_when_it_is_worse() -> None:
    assert only(RollBack, roll(TICK, on_trial(paused=True), BROKEN))


@pytest.mark.parametrize("trial", [on_trial(), on_trial(paused=True), in_the_shadow()])
def test_promoted_by_hand_it_takes_all_traffic_at_once(trial: Detector) -> None:
    messages = roll(hand("promote"), trial, FEW)
    assert only(Promote, messages).revision == only(ModelPromoted, messages).revision == "r2"
    assert remembered(messages, trial).canary is None


def test_what_is_not_ready_is_promoted_by_nobody() -> None:
    one = on_trial()
    messages = roll(hand("promote"), one, CanaryFacts(ready=False))
    assert none(COMMANDS, messages)
    assert remembered(messages, one).message == "r2 cannot be promoted: it is not ready"


@pytest.mark.parametrize("action", ["promote", "pause", "resume"])
def test_without_a_canary_there_is_nothing_to_steer(action: str) -> None:
    one = detector(serving=revision("r1"))
    messages = roll(hand(action), one)
    assert none(COMMANDS, messages)
    assert "no canary is on trial" in remembered(messages, one).message


# --- rollbacks ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("named", ["", "r2"])
def test_a_rollback_during_a_canary_beats_a_pause_and_a_question(named: str) -> None:
    one = on_trial({"approval": "promotion"}, percent=50, paused=True)
    one = later(one, roll(hand("resume"), one), MINUTE)
    one = later(one, roll(TICK, one, GOOD))
    assert len(one.status.held) == 1
    messages = roll(RollbackRequested(reason="alert", revision=named), one)
    assert only(RollBack, messages).revision == "r2"
    status = remembered(messages, one)
    assert (status.canary, status.held) == (None, ())


def test_a_rollback_of_what_serves_ends_the_canary_that_was_compared_with_it() -> None:
    one = on_trial()
    messages = roll(RollbackRequested(revision="r1"), one)
    back = [(each.revision, each.restore) for each in messages if isinstance(each, RollBack)]
    assert back == [("r2", "r1"), ("r1", "r0")]
    status = remembered(messages, one)
    assert status.canary is None
    assert status.serving is not None
    assert status.serving.name == "r0"


def test_a_rollback_of_something_that_is_over_only_says_so() -> None:
    one = on_trial()
    messages = roll(RollbackRequested(revision="r7"), one)
    assert none(COMMANDS, messages)
    after = remembered(messages, one)
    assert after.canary == one.status.canary
    assert "r7" in after.message
