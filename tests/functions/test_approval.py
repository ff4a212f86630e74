"""`mode: suggest`: every command is asked for once, and approved with the guards of that moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from homeostat.eventing.messages import (
    COMMANDS,
    ApprovalGiven,
    ApprovalRequested,
    CanaryTick,
    Promote,
    RollBack,
    RollbackRequested,
    ShiftTraffic,
    StartCanary,
    StartTraining,
    TrainingFailed,
    TrainingRequested,
)
from homeostat.functions import plan_retraining, roll_out
from homeostat.functions.canary import CanaryFacts
from homeostat.functions.detector import Detector, Judging, Message, RevisionFigures
from tests.functions.detectors import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    batch,
    canary,
    cause,
    detector,
    drifted,
    figures,
    later,
    none,
    only,
    passed,
    remembered,
    revision,
    run,
    spec,
)

SUGGEST = spec("suggest")
TICK = CanaryTick()
DATA = TrainingRequested(trigger="data", reason="6000 new rows")
HAND = TrainingRequested(reason="new sensor", candidates=("autoencoder",))


def asking(**status: Any) -> Detector:
    return detector(asked=status.pop("asked", SUGGEST), **status)


def plan(event: Any, one: Detector) -> list[Message]:
    return list(plan_retraining.decide(event, one))


def roll(event: Any, one: Detector, facts: CanaryFacts | None = None) -> list[Message]:
    return list(roll_out.decide(event, one, facts))


def yes(one: Detector, place: int = -1) -> ApprovalGiven:
    return ApprovalGiven(approves=one.status.held[place].id, by="ada")


def with_status(one: Detector, **changes: Any) -> Detector:
    return one.model_copy(update={"status": one.status.model_copy(update=changes)})


def quiet(messages: Iterable[object]) -> bool:
    return none((ApprovalRequested, *COMMANDS), messages)


# --- asking ------------------------------------------------------------------------------------------------
def test_a_training_is_asked_for_and_not_started() -> None:
    one = asking()
    messages = plan(DATA, one)
    assert none(COMMANDS, messages)
    name = plan_retraining.run_name("pump", "e1")
    assert only(ApprovalRequested, messages).commands == (f"StartTraining {name}",)
    status = remembered(messages, one)
    assert (status.run, status.starts, status.new_rows) == (None, (), 6000)
    assert [held.function for held in status.held] == ["plan-retraining"]
    assert "waits for approval" in status.message


def test_the_same_thing_is_asked_once() -> None:
    one = asking()
    one = later(one, plan(DATA, one))
    for event in [TICK, DATA, TICK, TrainingFailed(run="?", error="?")]:
        messages = plan(event, one)
        assert quiet(messages)
        one = later(one, messages, MINUTE)
    assert len(one.status.held) == 1


def test_more_rows_do_not_ask_again_and_go_along_when_approved() -> None:
    one = asking()
    one = with_status(later(one, plan(DATA, one)), batches=(batch(), batch("b.csv")))
    one = later(one, plan(DATA, one))
    assert len(one.status.held) == 1
    assert len(only(StartTraining, plan(yes(one), one)).data) == 2


def test_a_stronger_wish_asks_anew_and_replaces_the_question() -> None:
    one = asking()
    one = later(one, plan(DATA, one), woken_by="e2")
    old = yes(one)
    messages = plan(HAND, one)
    assert only(ApprovalRequested, messages).commands == (
        f"StartTraining {plan_retraining.run_name('pump', 'e2')}",
    )
    one = later(one, messages)
    assert len(one.status.held) == 1
    assert plan(old, one) == []
    assert only(StartTraining, plan(yes(one), one)).candidates == ("autoencoder",)


def test_a_weaker_wish_takes_nothing_from_the_question() -> None:
    one = asking()
    one = later(one, plan(HAND, one), woken_by="e2")
    one = later(one, plan(DATA, one))
    assert only(StartTraining, plan(yes(one), one)).candidates == ("autoencoder",)


def test_what_a_later_wish_adds_to_the_question_goes_along() -> None:
    one = asking()
    one = later(one, plan(HAND, one), woken_by="e2")
    epochs = {"autoencoder": {"epochs": 3}}
    messages = plan(TrainingRequested(parameters=epochs), one)
    assert quiet(messages)
    one = later(one, messages)
    command = only(StartTraining, plan(yes(one), one))
    assert (command.candidates, command.parameters) == (("autoencoder",), epochs)


def test_a_failed_run_is_over_even_while_the_next_one_waits_for_approval() -> None:
    one = asking(run=run())
    one = later(one, plan(DATA, one))
    messages = plan(TrainingFailed(run="pump-run", error="out of memory"), one)
    assert only(ApprovalRequested, messages)
    assert remembered(messages, one).run is None


def test_what_needs_no_command_is_not_asked_for() -> None:
    one = asking(canary=canary(), serving=revision("r1"))
    messages = roll(TICK, one, CanaryFacts(ready=True, stable=figures(10), canary=figures(1)))
    assert quiet(messages)
    assert remembered(messages, one).canary != one.status.canary


# --- approving ---------------------------------------------------------------------------------------------
def test_approved_it_starts_once() -> None:
    one = asking()
    one = later(one, plan(DATA, one), HOUR)
    approval = yes(one)
    messages = plan(approval, one)
    command = only(StartTraining, messages)
    one = later(one, messages)
    assert one.status.run is not None
    assert (one.status.run.name, one.status.held, one.status.waiting) == (command.run, (), None)
    assert plan(approval, one) == []


@pytest.mark.parametrize("identity", ["", "another"])
def test_an_approval_of_something_else_does_nothing(identity: str) -> None:
    one = asking()
    one = later(one, plan(DATA, one))
    assert plan(ApprovalGiven(approves=identity), one) == []
    assert roll(yes(one), one) == [], "another function's question"


def test_an_old_approval_meets_the_guards_of_its_moment() -> None:
    one = asking()
    one = later(one, plan(DATA, one))
    busy = with_status(one, run=run())
    messages = plan(yes(one), busy)
    assert quiet(messages)
    status = remembered(messages, busy)
    assert status.held == ()
    assert status.waiting is not None, "the wish itself is not lost"


def test_an_approved_answer_to_drift_that_is_gone_starts_nothing() -> None:
    one = asking(serving=revision("r1", promoted=NOON - HOUR), new_rows=600)
    one = later(one, plan(drifted(), one), HOUR)
    answered = with_status(one, serving=revision("r2", promoted=NOON + MINUTE))
    messages = plan(yes(one), answered)
    assert quiet(messages)
    assert remembered(messages, answered).waiting is None


def test_a_debounced_request_is_asked_for_when_quiet_returns() -> None:
    one = asking(asked=spec("suggest", retrain={"debounce": "10s"}))
    messages = plan(DATA, one)
    assert quiet(messages)
    one = later(one, messages, 10 * SECOND)
    one = later(one, plan(TICK, one))
    assert only(StartTraining, plan(yes(one), one))


def test_changed_to_act_the_wish_is_granted_and_the_question_gone() -> None:
    one = asking()
    one = later(one, plan(DATA, one))
    acting = one.model_copy(update={"spec": spec("act")})
    messages = plan(TICK, acting)
    assert only(StartTraining, messages)
    assert remembered(messages, acting).held == ()


# --- rollout -----------------------------------------------------------------------------------------------
JUDGED = {"judging": Judging(run="r2", since=NOON), "serving": revision("r1")}
GOOD = CanaryFacts(ready=True, stable=figures(3000), canary=figures(200))
ZERO = RevisionFigures()


def on_trial(percent: int = 5) -> Detector:
    trial = canary(percent=percent, base_canary=ZERO, base_stable=ZERO)
    return asking(now=NOON + MINUTE, canary=trial, serving=revision("r1"))


def test_a_canary_waits_for_approval_as_long_as_it_takes() -> None:
    one = asking(**JUDGED)
    messages = roll(passed("r2"), one)
    assert only(ApprovalRequested, messages).commands == ("StartCanary r2 to 5 %",)
    one = later(one, messages, 100 * HOUR)
    one = later(one, plan(TICK, one))
    assert one.status.judging == JUDGED["judging"]
    assert only(StartCanary, roll(yes(one), one)).revision == "r2"


def test_a_verdict_whose_question_the_mode_outlived_is_given_up() -> None:
    one = asking(**JUDGED)
    one = later(one, roll(passed("r2"), one), 3 * HOUR)
    acting = one.model_copy(update={"spec": spec("act")})
    assert remembered(plan(TICK, acting), acting).judging is None


@pytest.mark.parametrize(
    ("percent", "command"), [(5, ShiftTraffic), (50, Promote)], ids=["advance", "promote"]
)
def test_each_step_is_asked_for_once_and_taken_when_approved(percent: int, command: type[Any]) -> None:
    one = on_trial(percent)
    one = later(one, roll(TICK, one, GOOD))
    assert quiet(roll(TICK, one, GOOD))
    assert only(command, roll(yes(one), one, GOOD))


def test_an_approved_step_is_not_taken_when_the_canary_broke_since() -> None:
    one = on_trial()
    one = later(one, roll(TICK, one, GOOD))
    broken = CanaryFacts(ready=True, stable=figures(3000), canary=figures(300, errors=50))
    messages = roll(yes(one), one, broken)
    assert none((ShiftTraffic, Promote), messages)
    assert only(RollBack, messages)


def test_an_approved_step_that_can_no_longer_be_judged_is_not_taken() -> None:
    one = on_trial()
    one = later(one, roll(TICK, one, GOOD))
    messages = roll(yes(one), one, CanaryFacts(ready=True))
    assert quiet(messages)
    assert remembered(messages, one).held == ()


def test_a_newer_intent_replaces_the_question_that_it_made_stale() -> None:
    one = on_trial()
    one = later(one, roll(TICK, one, GOOD))
    broken = CanaryFacts(ready=True, stable=figures(3000), canary=figures(300, errors=50))
    messages = roll(TICK, one, broken)
    assert only(ApprovalRequested, messages).commands == ("RollBack r2 to r1",)
    assert len(remembered(messages, one).held) == 1


def test_a_rollback_by_hand_does_not_make_the_waiting_candidate_forgotten() -> None:
    one = asking(judging=JUDGED["judging"], serving=revision("r1"), previous=revision("r0"))
    one = later(one, roll(passed("r2"), one))
    one = later(one, roll(RollbackRequested(), one))
    assert [held.commands[0].split()[0] for held in one.status.held] == ["StartCanary", "RollBack"]
    one = later(one, roll(yes(one), one))
    assert one.status.serving is not None
    assert one.status.serving.name == "r0"
    assert only(StartCanary, roll(yes(one), one))


def test_the_approved_decision_cites_the_event_that_it_was_about() -> None:
    one = asking(**JUDGED, woken_by="eval")
    one = later(one, roll(passed("r2"), one), woken_by="approval")
    started = remembered(roll(yes(one), one), one).canary
    assert started is not None
    assert started.cause == cause("eval")
