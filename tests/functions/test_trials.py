"""How a step ends: at its deadline, by labels, by people; and that it ends once, whatever happens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.eventing.messages import (
    COMMANDS,
    ApprovalGiven,
    ApprovalRequested,
    CanaryJudged,
    CanaryRolledBack,
    Promote,
    RollBack,
    RolloutRequested,
    ShiftTraffic,
)
from homeostat.functions.canary import CanaryFacts, ShadowFigures
from homeostat.functions.detector import Detector, Quality, RevisionFigures
from tests.functions.detectors import (
    HOUR,
    MINUTE,
    NOON,
    added,
    canary,
    detector,
    figures,
    later,
    none,
    only,
)
from tests.functions.trying import BROKEN, FEW, GOOD, TICK, ZERO, on_trial, roll


def hand(action: Any) -> RolloutRequested:
    return RolloutRequested(action=action, by="ada")


# --- the deadline ------------------------------------------------------------------------------------------
LATE = NOON + 25 * HOUR


@pytest.mark.parametrize("facts", [FEW, CanaryFacts(ready=True)], ids=["few", "unmeasured"])
def test_a_step_that_comes_to_no_verdict_is_taken_back_at_its_deadline(facts: CanaryFacts) -> None:
    assert none(COMMANDS, roll(TICK, on_trial(now=NOON + 23 * HOUR), facts))
    messages = roll(TICK, on_trial(now=LATE), facts)
    assert only(CanaryRolledBack, messages).reason.endswith("after 1d")


def test_it_may_hold_as_long_as_its_owner_likes() -> None:
    assert none(COMMANDS, roll(TICK, on_trial({"at_deadline": "hold"}, now=LATE), FEW))


PROMOTE = {"at_deadline": "promote"}


@pytest.mark.parametrize("fields", [{}, {"section": {**PROMOTE, "shadow": 10}, "shadow": True, "percent": 0}])
def test_on_too_little_it_is_not_promoted_at_its_deadline(fields: dict[str, Any]) -> None:
    one = on_trial(**{"section": PROMOTE, "now": LATE, **fields})
    assert only(RollBack, roll(TICK, one, FEW))


@pytest.mark.parametrize(
    ("section", "percent"), [({"shadow": 10}, 5), ({}, 25)], ids=["the shadow", "a step before"]
)
def test_on_what_was_seen_before_it_is_promoted_at_its_deadline(
    section: dict[str, Any], percent: int
) -> None:
    one = on_trial({**PROMOTE, **section}, percent=percent, now=LATE)
    assert only(Promote, roll(TICK, one, FEW)).revision == "r2"
    errors = CanaryFacts(ready=True, stable=figures(300), canary=figures(20, errors=1))
    assert only(RollBack, roll(TICK, one, errors)), "it looks worse than is allowed"


def test_the_first_revision_has_no_deadline() -> None:
    trial = canary(percent=100, base_canary=ZERO)
    one = detector(now=NOON + 1000 * HOUR, canary=trial)
    assert none(COMMANDS, roll(TICK, one, CanaryFacts(ready=True, canary=figures(3))))


# --- labels ------------------------------------------------------------------------------------------------
def labelled(missed: int) -> Quality:
    return Quality(caught=1000 - missed, missed=missed, passed=9000, measured=NOON)


def test_judged_by_labels_it_waits_for_them() -> None:
    one = on_trial({"judge_by": "labels"})
    assert none(COMMANDS, roll(TICK, one, GOOD))
    known = {"r1": labelled(100), "r2": labelled(100)}
    assert only(ShiftTraffic, roll(TICK, on_trial({"judge_by": "labels"}, status={"quality": known}), GOOD))
    known = {"r1": labelled(100), "r2": labelled(900)}
    assert only(RollBack, roll(TICK, on_trial({"judge_by": "labels"}, status={"quality": known}), GOOD))


# --- told --------------------------------------------------------------------------------------------------
def test_a_verdict_is_told_once_with_its_figures() -> None:
    one = on_trial()
    messages = roll(TICK, one, FEW)
    told = only(CanaryJudged, messages)
    assert (told.outcome, told.reason, told.requests) == ("hold", "20 of 200 requests", 20)
    assert [each.name for each in told.comparisons][:1] == ["error ratio"]
    one = later(one, messages)
    more = CanaryFacts(ready=True, stable=figures(600), canary=figures(40))
    assert roll(TICK, one, more) == []
    assert only(CanaryJudged, roll(TICK, one, GOOD)).outcome == "advance"


# --- people ------------------------------------------------------------------------------------------------
def test_a_promotion_is_left_to_people_and_nothing_else_is() -> None:
    asked = {"approval": "promotion"}
    assert only(ShiftTraffic, roll(TICK, on_trial(asked), GOOD))
    one = on_trial(asked, percent=50)
    messages = roll(TICK, one, GOOD)
    assert none(COMMANDS, messages)
    assert only(ApprovalRequested, messages).commands == ("Promote r2",)
    assert only(CanaryJudged, messages).outcome == "advance"
    one = later(one, messages, MINUTE)
    assert none((ApprovalRequested, CanaryJudged, *COMMANDS), roll(TICK, one, GOOD)), "asked once"
    late = one.model_copy(update={"now": LATE})
    assert none(COMMANDS, roll(TICK, late, GOOD)), "people have no deadline"
    assert only(RollBack, roll(TICK, one, BROKEN)), "they are not asked whether a bad one goes"
    yes = ApprovalGiven(approves=one.status.held[0].id, by="ada")
    assert only(Promote, roll(yes, one, GOOD))
    assert only(Promote, roll(hand("promote"), one, GOOD)), "who promotes by hand was asked"


def test_in_suggest_mode_the_verdict_is_told_with_the_question() -> None:
    one = on_trial(mode="suggest")
    messages = roll(TICK, one, GOOD)
    assert only(CanaryJudged, messages).outcome == "advance"
    one = later(one, messages)
    assert none((CanaryJudged, ApprovalRequested), roll(TICK, one, GOOD))


# --- whatever happens --------------------------------------------------------------------------------------
Happening = tuple[str, int]
HAPPENS = st.lists(
    st.tuples(
        st.sampled_from(
            ["tick", "tick", "tick", "again", "restart", "unmeasured", "pause", "resume", "unready"]
        ),
        st.integers(0, 400),
    ),
    max_size=40,
)


@given(HAPPENS, st.booleans(), st.sampled_from([0, 50]))
@settings(max_examples=60, deadline=None)
def test_whatever_happens_shares_rise_and_there_is_one_end(
    happens: list[Happening], faulty: bool, shadow: int
) -> None:
    """Killed at any point, a canary is decided on from what is stored: the same snapshot, the same step."""
    one = on_trial({"min_requests": 50, "shadow": shadow}, shadow=shadow > 0, percent=0 if shadow else 5)
    seen, stable, ends = ZERO, ZERO, 0
    for name, requests in [*happens, ("tick", 100)]:
        if name == "restart":
            seen = ZERO
        seen = added(seen, figures(requests, errors=requests // 2 if faulty else 0))
        stable = added(stable, figures(10 * requests))
        before, facts = one.status.canary, _facts(name, seen, stable)
        event = hand(name) if name in ("pause", "resume") else TICK
        messages = roll(event, one, facts)
        stored = Detector.model_validate_json(one.model_dump_json())
        assert roll(event, stored, facts) == messages, "the same after a kill"
        commands = [each for each in messages if isinstance(each, COMMANDS)]
        ends += sum(isinstance(each, Promote | RollBack) for each in commands)
        one = later(one, messages, timedelta(minutes=2))
        after = one.status.canary
        if before and after:
            assert after.percent >= before.percent
        if name in ("unmeasured", "unready") or (before and before.paused):
            assert none((ShiftTraffic, Promote), commands)
        assert not (faulty and any(isinstance(each, Promote) for each in commands))
        if before is None:
            assert commands == []
    assert ends <= 1


def _facts(name: str, seen: RevisionFigures, stable: RevisionFigures) -> CanaryFacts:
    copied = ShadowFigures(requests=seen.requests, errors=seen.errors, rows=seen.rows, agreed=seen.rows)
    if name == "unmeasured":
        return CanaryFacts(ready=True, stable=stable)
    return CanaryFacts(ready=name != "unready", stable=stable, canary=seen, shadow=copied)
