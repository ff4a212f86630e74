"""The only door to serving: step by step up, at once back, and never on nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from homeostat.eventing.messages import (
    COMMANDS,
    CanaryAdvanced,
    CanaryJudged,
    CanaryRolledBack,
    CanaryStarted,
    CanaryTick,
    EvalPassed,
    ModelPromoted,
    Promote,
    RollBack,
    RollbackRequested,
    ShiftTraffic,
    StartCanary,
)
from homeostat.functions.canary import CanaryFacts
from homeostat.functions.detector import Detector, DriftState, Judging, RevisionFigures
from homeostat.functions.roll_out import READY_WITHIN, decide
from tests.functions.detectors import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    canary,
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

TICK = CanaryTick()
ZERO = RevisionFigures()
AWAITED = Judging(run="r2", since=NOON)
STABLE: dict[str, Any] = {"serving": revision("r1", promoted=NOON - HOUR)}


def facts(
    canary: RevisionFigures | None, stable: RevisionFigures | None = ZERO, ready: bool = True
) -> CanaryFacts:
    return CanaryFacts(ready=ready, stable=stable, canary=canary)


def on_trial(now: Any = NOON + MINUTE, **fields: Any) -> Detector:
    """A canary that was ready at noon, with every counter at zero."""
    trial = canary(**{"base_canary": ZERO, "base_stable": ZERO, **fields})
    return detector(now=now, canary=trial, **STABLE)


GOOD = facts(figures(200), figures(3000))
BROKEN = facts(figures(200, errors=100), figures(3000))


# --- start -------------------------------------------------------------------------------------------------
def test_a_candidate_that_passed_gets_the_first_step() -> None:
    before = detector(judging=AWAITED, **STABLE)
    messages = list(decide(passed("r2"), before, None))
    assert only(StartCanary, messages).percent == 5
    assert only(CanaryStarted, messages).stable == "r1"
    status = remembered(messages, before)
    assert status.judging is None
    assert status.canary is not None
    assert (status.canary.revision.name, status.canary.cause) == ("r2", before.cause)
    assert status.serving == STABLE["serving"]


@pytest.mark.parametrize("steps", [[5, 25, 50], []])
def test_the_first_revision_takes_all_traffic_on_trial(steps: list[int]) -> None:
    before = detector(asked=spec(canary={"steps": steps}), judging=AWAITED)
    messages = list(decide(passed("r2"), before, None))
    assert only(StartCanary, messages).percent == 100
    assert remembered(messages, before).serving is None


@pytest.mark.parametrize("judging", [None, Judging(run="another", since=NOON)])
def test_a_candidate_that_nobody_waits_for_gets_no_traffic(judging: Judging | None) -> None:
    before = detector(judging=judging, **STABLE)
    messages = list(decide(passed("r2"), before, None))
    assert none(COMMANDS, messages)
    assert remembered(messages, before).judging == judging


def test_a_verdict_told_twice_starts_one_canary() -> None:
    before = detector(judging=AWAITED, **STABLE)
    after = later(before, decide(passed("r2"), before, None))
    messages = list(decide(passed("r2"), after, None))
    assert none(COMMANDS, messages)
    assert remembered(messages, after).canary == after.status.canary


# --- ready -------------------------------------------------------------------------------------------------
def test_a_step_is_judged_from_the_moment_the_canary_is_ready() -> None:
    one = detector(now=NOON + MINUTE, canary=canary(), **STABLE)
    messages = list(decide(TICK, one, facts(figures(7), figures(900))))
    assert none(COMMANDS, messages)
    begun = remembered(messages, one).canary
    assert begun is not None
    assert (begun.base_canary, begun.base_stable) == (figures(7), figures(900))
    assert begun.step_started == NOON + MINUTE


def test_a_canary_gets_its_time_to_load() -> None:
    one = detector(now=NOON + READY_WITHIN, canary=canary(), **STABLE)
    assert list(decide(TICK, one, facts(None, ready=False))) == []


@pytest.mark.parametrize("seen", [None, facts(None, ready=False)])
def test_a_canary_that_is_never_ready_is_rolled_back(seen: CanaryFacts | None) -> None:
    one = detector(now=NOON + READY_WITHIN + SECOND, canary=canary(), **STABLE)
    messages = list(decide(TICK, one, seen))
    assert only(RollBack, messages).restore == "r1"
    assert only(CanaryRolledBack, messages).reason == "it did not become ready"


def test_a_later_step_gets_its_own_time_to_be_seen() -> None:
    """A healthy canary of an hour must not fall over one look that fails right after its traffic went up."""
    one = on_trial(now=NOON + HOUR, step_started=NOON + HOUR - MINUTE)
    up = later(one, decide(TICK, one, GOOD), SECOND)
    assert up.status.canary is not None
    assert up.status.canary.base_canary is None
    assert list(decide(TICK, up, facts(None, ready=False))) == []


def test_a_canary_that_died_on_trial_is_rolled_back_in_the_end() -> None:
    one = on_trial()
    one = later(one, decide(TICK, one, facts(None, ready=False)), READY_WITHIN)
    assert one.status.canary is not None
    one = later(one, decide(TICK, one, facts(None, ready=False)), SECOND)
    assert only(RollBack, decide(TICK, one, facts(None, ready=False)))


def test_a_canary_that_restarted_is_judged_anew() -> None:
    one = on_trial()
    one = later(one, decide(TICK, one, facts(None, ready=False)))
    one = later(one, decide(TICK, one, facts(figures(3), figures(3000))))
    assert one.status.canary is not None
    assert one.status.canary.base_canary == figures(3)


# --- judged ------------------------------------------------------------------------------------------------
def test_a_good_step_leads_to_the_next_one() -> None:
    one = on_trial()
    messages = list(decide(TICK, one, GOOD))
    assert only(ShiftTraffic, messages).percent == 25
    assert only(CanaryAdvanced, messages).figures["canary_requests"] == 200
    after = remembered(messages, one).canary
    assert after is not None
    assert (after.percent, after.base_canary, after.base_stable) == (25, None, None)


def test_every_step_takes_its_time() -> None:
    early = list(decide(TICK, on_trial(now=NOON + MINUTE - SECOND), GOOD))
    assert none(COMMANDS, early)
    assert only(CanaryJudged, early).outcome == "advance"


def test_every_step_is_judged_on_its_own_traffic() -> None:
    one = on_trial(base_canary=figures(200), base_stable=figures(3000))
    assert none(COMMANDS, decide(TICK, one, facts(figures(399), figures(9000))))
    assert only(ShiftTraffic, decide(TICK, one, facts(figures(400), figures(9000))))


@pytest.mark.parametrize("serving", [revision("r1"), None])
def test_without_traffic_a_canary_is_never_promoted(serving: Any) -> None:
    one = on_trial(now=NOON + 20 * HOUR, percent=5 if serving else 100)
    one = one.model_copy(update={"status": one.status.model_copy(update={"serving": serving})})
    assert none(COMMANDS, decide(TICK, one, facts(ZERO)))


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize(
    "seen", [facts(None), facts(figures(500), None), facts(None, None)], ids=["canary", "stable", "both"]
)
def test_figures_that_cannot_be_had_hold_the_canary(seen: CanaryFacts, begun: bool) -> None:
    base: dict[str, Any] = {} if begun else {"base_canary": None, "base_stable": None}
    one = on_trial(now=NOON + 20 * HOUR, **base)
    messages = list(decide(TICK, one, seen))
    assert none(COMMANDS, messages)
    assert only(CanaryJudged, messages).reason == "its figures cannot be had"


def test_the_last_good_step_promotes() -> None:
    one = on_trial(percent=50)
    messages = list(decide(TICK, one, GOOD))
    assert only(Promote, messages).revision == "r2"
    assert only(ModelPromoted, messages).replaced == "r1"
    status = remembered(messages, one)
    assert status.canary is None
    assert status.serving == revision("r2", promoted=one.now)
    assert status.previous == STABLE["serving"]
    assert status.drift == DriftState(revision="r2")


def test_the_first_revision_is_promoted_on_its_own_traffic() -> None:
    trial = canary(percent=100, base_canary=ZERO)
    one = detector(now=NOON + MINUTE, canary=trial)
    messages = list(decide(TICK, one, facts(figures(200), None)))
    assert only(ModelPromoted, messages).replaced is None
    assert remembered(messages, one).previous is None


def test_a_broken_canary_goes_before_its_time() -> None:
    one = on_trial(now=NOON + SECOND)
    messages = list(decide(TICK, one, facts(figures(5, errors=5), figures(100))))
    back = only(RollBack, messages)
    assert (back.revision, back.restore, back.restore_uri) == ("r2", "r1", "models/r1")
    status = remembered(messages, one)
    assert status.canary is None
    assert status.serving == STABLE["serving"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (figures(200, errors=20), "error ratio"),
        (figures(200, fast=False), "slower than 20 ms"),
        (figures(200, anomalies=60), "anomaly rate"),
    ],
)
def test_a_worse_canary_is_rolled_back_with_its_figures(bad: RevisionFigures, reason: str) -> None:
    told = only(CanaryRolledBack, decide(TICK, on_trial(), facts(bad, figures(3000))))
    assert told.reason.startswith(reason)
    assert told.restored == "r1"
    assert told.figures["canary_requests"] == 200


def test_the_first_revision_is_taken_back_to_nothing() -> None:
    one = detector(now=NOON + MINUTE, canary=canary(percent=100, base_canary=ZERO))
    messages = list(decide(TICK, one, facts(figures(5, errors=5), None)))
    assert only(RollBack, messages).restore is None
    assert remembered(messages, one).serving is None


def test_a_counter_that_a_restart_reset_counts_from_zero() -> None:
    one = on_trial(base_canary=figures(5000), base_stable=figures(90_000))
    assert only(ShiftTraffic, decide(TICK, one, facts(figures(200), figures(95_000))))
    assert only(RollBack, decide(TICK, one, facts(figures(50, errors=50), figures(95_000))))


def test_drift_may_be_reported_again_after_a_rollback() -> None:
    one = on_trial()
    drift = DriftState(revision="r1", consecutive=7, latched=True)
    one = one.model_copy(update={"status": one.status.model_copy(update={"drift": drift})})
    after = remembered(decide(TICK, one, BROKEN), one)
    assert after.drift == DriftState(revision="r1")


def test_without_a_canary_a_tick_changes_nothing() -> None:
    assert list(decide(TICK, detector(**STABLE), None)) == []


# --- by hand -----------------------------------------------------------------------------------------------
def test_by_hand_the_canary_goes_first() -> None:
    one = on_trial()
    messages = list(decide(RollbackRequested(reason="it smells"), one, None))
    assert only(RollBack, messages).revision == "r2"
    assert only(CanaryRolledBack, messages).reason == "it smells"
    assert remembered(messages, one).serving == STABLE["serving"]


def test_by_hand_without_a_canary_the_previous_revision_returns() -> None:
    one = detector(serving=revision("r2"), previous=revision("r1"))
    messages = list(decide(RollbackRequested(), one, None))
    back = only(RollBack, messages)
    assert (back.revision, back.restore, back.restore_uri) == ("r2", "r1", "models/r1")
    status = remembered(messages, one)
    assert status.serving == revision("r1", promoted=NOON)
    assert status.previous is None
    assert status.drift == DriftState(revision="r1")


def test_an_alert_that_repeats_does_not_swing_back_and_forth() -> None:
    one = detector(serving=revision("r2"), previous=revision("r1"))
    one = later(one, decide(RollbackRequested(), one, None))
    messages = list(decide(RollbackRequested(), one, None))
    assert none(COMMANDS, messages)
    assert one.status.serving is not None
    assert remembered(messages, one).serving == one.status.serving
    assert "no earlier revision" in remembered(messages, one).message


@pytest.mark.parametrize("status", [{}, STABLE], ids=["nothing serves", "nothing before it"])
def test_a_rollback_to_nothing_is_refused_in_words(status: dict[str, Any]) -> None:
    one = detector(**status)
    messages = list(decide(RollbackRequested(), one, None))
    assert none(COMMANDS, messages)
    assert "no earlier revision" in remembered(messages, one).message


def test_a_rollback_while_a_verdict_is_under_way_keeps_the_candidate() -> None:
    one = detector(serving=revision("r2"), previous=revision("r1"), judging=AWAITED)
    assert remembered(decide(RollbackRequested(), one, None), one).judging == AWAITED


def climb(steps: Sequence[int], stable: int = 10) -> list[int]:
    """Every share of traffic that a canary without faults is given, until it is promoted."""
    one = detector(asked=spec(canary={"steps": list(steps)}), judging=AWAITED, **STABLE)
    shares: list[int] = []
    event: EvalPassed | CanaryTick = passed("r2")
    requests = 0
    for _ in range(50):
        messages = list(decide(event, one, facts(figures(requests), figures(stable * requests))))
        shares += [m.percent for m in messages if isinstance(m, (StartCanary, ShiftTraffic))]
        one, event, requests = later(one, messages, timedelta(minutes=2)), TICK, requests + 200
        if not none(Promote, messages):
            return shares
    raise AssertionError("never promoted")


@pytest.mark.parametrize("steps", [[5, 25, 50], [1], [1, 2, 3, 99]])
def test_a_faultless_canary_climbs_every_step_once(steps: list[int]) -> None:
    assert climb(steps) == steps


def test_without_steps_a_canary_takes_all_traffic_and_is_still_judged() -> None:
    assert climb([], stable=0) == [100]
