"""The only door to training: every guard, and no wish lost behind one."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.messages import (
    ApprovalGiven,
    CanaryRolledBack,
    CanaryTick,
    EvalFailed,
    ModelPromoted,
    StartTraining,
    TrainingFailed,
    TrainingRequested,
)
from homeostat.functions.detector import Detector, DriftState, Judging, Waiting
from homeostat.functions.plan_retraining import DAY, decide, run_name
from homeostat.functions.wishes import MAX_DEBOUNCE, merge
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
    later,
    none,
    only,
    remembered,
    revision,
    run,
    spec,
)

TICK = CanaryTick()
DATA = TrainingRequested(trigger="data", reason="6000 new rows")
HAND = TrainingRequested(reason="new sensor")
FORCE = TrainingRequested(reason="now!", force=True)
FAILED = TrainingFailed(run="pump-run", step="fit", error="out of memory")
LATCHED = DriftState(revision="r1", consecutive=9, latched=True)


def waiting(
    trigger: Literal["data", "drift", "hand"] = "data", since: datetime = NOON, **fields: Any
) -> Waiting:
    return Waiting(
        trigger=trigger,
        reason=trigger,
        since=since,
        **{"not_before": since, "cause": cause(trigger), **fields},
    )


def starts(event: Any, one: Detector) -> bool:
    return not none(StartTraining, decide(event, one))


# --- start -------------------------------------------------------------------------------------------------
def test_enough_new_rows_start_a_training() -> None:
    one = detector(serving=revision("r1"), batches=(batch("a.csv"), batch("b.csv", 6000)))
    messages = list(decide(DATA, one))
    command = only(StartTraining, messages)
    assert command.data == ("s3://plant/pump/a.csv", "s3://plant/pump/b.csv")
    assert command.candidates == one.spec.candidates
    assert command.champion == "models/r1"
    status = remembered(messages, one)
    assert status.run is not None
    assert (status.run.name, status.run.started, status.run.cause) == (command.run, NOON, one.cause)
    assert (status.new_rows, status.waiting, status.starts) == (0, None, (NOON,))


def test_the_runs_name_derives_from_its_cause() -> None:
    one = only(StartTraining, decide(DATA, detector(woken_by="e1"))).run
    assert one == only(StartTraining, decide(DATA, detector(woken_by="e1"))).run == run_name("pump", "e1")
    assert one != only(StartTraining, decide(DATA, detector(woken_by="e2"))).run


def test_candidates_and_parameters_of_the_request_go_along() -> None:
    asked = TrainingRequested(candidates=("autoencoder",), parameters={"autoencoder": {"epochs": 3}})
    command = only(StartTraining, decide(asked, detector()))
    assert command.candidates == ("autoencoder",)
    assert command.parameters == {"autoencoder": {"epochs": 3}}


# --- guards ------------------------------------------------------------------------------------------------
BUSY: dict[str, dict[str, Any]] = {
    "training": {"run": run()},
    "judging": {"judging": Judging(run="r2", since=NOON)},
    "canary": {"canary": canary()},
}


@pytest.mark.parametrize("phase", BUSY)
@pytest.mark.parametrize("event", [DATA, HAND, FORCE, drifted()], ids=["data", "hand", "force", "drift"])
def test_one_episode_at_a_time_and_the_wish_waits(event: Any, phase: str) -> None:
    one = detector(**BUSY[phase])
    messages = list(decide(event, one))
    assert none(StartTraining, messages)
    status = remembered(messages, one)
    assert status.waiting is not None
    assert status.waiting.cause == one.cause
    assert "not settled" in status.message


@pytest.mark.parametrize("event", [DATA, HAND, FORCE, drifted()], ids=["data", "hand", "force", "drift"])
def test_without_any_data_the_wish_waits(event: Any) -> None:
    one = detector(batches=())
    messages = list(decide(event, one))
    assert none(StartTraining, messages)
    assert remembered(messages, one).waiting


def test_too_few_new_rows_are_no_reason() -> None:
    one = detector(new_rows=4999)
    assert not starts(DATA, one)
    assert remembered(decide(DATA, one), one).waiting is None


def test_people_need_no_new_rows() -> None:
    assert starts(HAND, detector(new_rows=0))


def test_drift_waits_for_rows_that_no_run_has_seen() -> None:
    one = detector(new_rows=499, serving=revision("r1"))
    status = remembered(decide(drifted(), one), one)
    assert status.waiting is not None
    assert "499 of 500 new rows" in status.message
    landed = one.model_copy(update={"status": status.model_copy(update={"new_rows": 500})})
    assert starts(TICK, landed)


def test_drift_never_needs_more_rows_than_a_request_for_data() -> None:
    one = detector(asked=spec(retrain={"min_new_rows": 100}), new_rows=100, serving=revision("r1"))
    assert starts(DATA, one)
    assert starts(DATA, later(one, [one.remember(waiting=waiting("drift"))]))


def test_drift_of_a_replaced_revision_says_nothing() -> None:
    one = detector(serving=revision("r2"))
    assert not starts(drifted(revision="r1"), one)
    assert remembered(decide(drifted(revision="r1"), one), one).waiting is None


def test_the_debounce_waits_for_quiet() -> None:
    one = detector(asked=spec(retrain={"debounce": "10s"}))
    one = later(one, decide(DATA, one), 9 * SECOND)
    one = later(one, decide(DATA, one), 9 * SECOND)
    assert not starts(TICK, one)
    assert starts(TICK, one.model_copy(update={"now": one.now + SECOND}))


def test_a_stream_of_requests_cannot_postpone_training_for_ever() -> None:
    one = detector(asked=spec(retrain={"debounce": "10s"}))
    for _ in range(10 * MAX_DEBOUNCE):
        if starts(DATA, one):
            break
        one = later(one, decide(DATA, one), 5 * SECOND)
    assert one.now == NOON + MAX_DEBOUNCE * 10 * SECOND


def test_the_cooldown_counts_from_the_last_start() -> None:
    last: dict[str, Any] = {"starts": (NOON,)}
    assert not starts(DATA, detector(NOON + 10 * MINUTE - SECOND, **last))
    assert starts(DATA, detector(NOON + 10 * MINUTE, **last))


def test_a_cooldown_of_days_is_kept() -> None:
    asked = spec(retrain={"cooldown": "3d"})
    assert not starts(DATA, detector(NOON + 2 * DAY, asked=asked, starts=(NOON,)))
    assert starts(DATA, detector(NOON + 3 * DAY, asked=asked, starts=(NOON,)))


def test_the_budget_counts_the_last_24_hours() -> None:
    asked = spec(retrain={"budget_per_day": 2})
    spent: dict[str, Any] = {"asked": asked, "starts": (NOON, NOON + HOUR)}
    one = detector(NOON + DAY - SECOND, **spent)
    assert not starts(DATA, one)
    assert "budget of 2" in remembered(decide(DATA, one), one).message
    assert starts(DATA, detector(NOON + DAY, **spent))


def test_force_passes_debounce_cooldown_budget_and_minimum() -> None:
    asked = spec(retrain={"debounce": "1h", "cooldown": "1h", "budget_per_day": 1})
    assert starts(FORCE, detector(asked=asked, starts=(NOON,), new_rows=0))


def test_a_forced_start_counts_in_the_budget() -> None:
    one = detector(asked=spec(retrain={"budget_per_day": 1, "cooldown": "0"}))
    one = later(one, decide(FORCE, one))
    one = one.model_copy(update={"status": one.status.model_copy(update={"run": None, "new_rows": 6000})})
    assert not starts(DATA, one)


# --- looked at again ---------------------------------------------------------------------------------------
ENDS: dict[str, Any] = {
    "tick": TICK,
    "eval failed": EvalFailed(run="r", algorithm="a", uri="u", version="1", gates=()),
    "promoted": ModelPromoted(revision="r2", algorithm="a", version="1", uri="u"),
    "rolled back": CanaryRolledBack(revision="r2", reason="slow"),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_wish_of_a_busy_time_is_granted_when_the_episode_ends(end: str) -> None:
    one = detector(waiting=waiting())
    assert only(StartTraining, decide(ENDS[end], one)).run == run_name("pump", "data")


def test_requests_during_a_run_are_answered_once() -> None:
    one = detector(run=run())
    requests: list[Any] = [DATA, DATA, drifted(), DATA, HAND]
    for place, event in enumerate(requests):
        one = later(one, decide(event, one), woken_by=f"e{place}")
    one = later(one, decide(FAILED, one), HOUR)
    assert one.status.run is not None
    assert one.status.run.reason == HAND.reason
    assert one.status.waiting is None


@pytest.mark.parametrize("order", [[DATA, drifted(), HAND], [HAND, drifted(), DATA], [drifted(), HAND, DATA]])
def test_the_strongest_reason_names_a_merged_wish(order: list[Any]) -> None:
    one = detector(run=run())
    for event in order:
        one = later(one, decide(event, one))
    assert one.status.waiting is not None
    assert one.status.waiting.trigger == "hand"


def test_drift_that_a_promotion_answered_is_dropped() -> None:
    one = detector(
        NOON + HOUR, new_rows=600, waiting=waiting("drift"), serving=revision("r2", promoted=NOON + MINUTE)
    )
    assert not starts(TICK, one)
    assert remembered(decide(TICK, one), one).waiting is None


def test_drift_after_the_promotion_is_not() -> None:
    assert starts(TICK, detector(waiting=waiting("drift"), serving=revision(promoted=NOON - SECOND)))


def test_an_answered_drift_does_not_swallow_the_rows_that_came_since() -> None:
    one = detector(NOON + HOUR, waiting=waiting("drift"), serving=revision("r2", promoted=NOON + MINUTE))
    messages = list(decide(TICK, one))
    assert only(StartTraining, messages)
    after = remembered(messages, one).run
    assert after is not None
    assert after.reason == "6000 new rows"


def test_an_answered_drift_does_not_swallow_drift_of_the_new_revision() -> None:
    """The promotion's own event may come after the drift that the new revision saw."""
    one = detector(NOON + HOUR, waiting=waiting("drift"), serving=revision("r2", promoted=NOON + MINUTE))
    one = one.model_copy(update={"status": one.status.model_copy(update={"new_rows": 0})})
    after = remembered(decide(drifted(revision="r2"), one), one).waiting
    assert after is not None
    assert after.since == NOON + HOUR


def test_a_request_for_data_is_dropped_when_a_run_took_the_rows() -> None:
    one = detector(new_rows=10, waiting=waiting("data"))
    assert remembered(decide(TICK, one), one).waiting is None


def test_a_tick_without_a_wish_changes_nothing() -> None:
    one = detector(serving=revision())
    assert remembered(decide(TICK, one), one) == one.status


# --- runs that end badly -----------------------------------------------------------------------------------
def test_a_failed_run_frees_the_detector_and_lets_drift_be_reported_again() -> None:
    one = detector(run=run(), drift=LATCHED)
    status = remembered(decide(FAILED, one), one)
    assert status.run is None
    assert status.drift == LATCHED.unlatched()
    assert status.message == "training failed at fit: out of memory"


def test_the_failure_of_another_run_changes_nothing() -> None:
    one = detector(run=run("pump-other"), drift=LATCHED)
    assert remembered(decide(FAILED, one), one) == one.status


def test_a_run_is_given_up_after_twice_its_time() -> None:
    assert remembered(decide(TICK, detector(NOON + 2 * HOUR, run=run())), detector()).run == run()
    one = detector(NOON + 2 * HOUR + SECOND, run=run(), drift=LATCHED)
    status = remembered(decide(TICK, one), one)
    assert status.run is None
    assert not status.drift.latched, "drift that the lost run should have answered would never be told again"
    assert status.message == "run pump-run was lost: nothing was heard of it for twice spec.retrain.timeout"
    told = only(TrainingFailed, decide(TICK, one))
    assert (told.run, told.error) == ("pump-run", "nothing was heard of it for twice spec.retrain.timeout")


def test_a_verdict_that_never_became_a_canary_is_given_up_too() -> None:
    judging = Judging(run="r2", since=NOON)
    one = detector(NOON + 2 * HOUR, judging=judging)
    assert remembered(decide(TICK, one), one).judging == judging
    one = detector(NOON + 2 * HOUR + SECOND, judging=judging, drift=LATCHED)
    status = remembered(decide(TICK, one), one)
    assert status.judging is None
    assert not status.drift.latched


@pytest.mark.parametrize("phase", ["training", "judging"])
def test_a_wish_behind_a_lost_episode_is_granted(phase: str) -> None:
    assert starts(TICK, detector(NOON + 3 * HOUR, waiting=waiting(), **BUSY[phase]))


def test_an_approval_of_nothing_does_nothing() -> None:
    assert list(decide(ApprovalGiven(approves="?"), detector(waiting=waiting()))) == []


# --- merging -----------------------------------------------------------------------------------------------
MOMENTS = st.integers(0, 10_000).map(lambda seconds: NOON + seconds * SECOND)
WISHES = st.builds(
    lambda trigger, since, debounce, candidates, parameters, force, tune, identity: Waiting(
        trigger=trigger,
        reason=trigger,
        since=since,
        not_before=since + timedelta(seconds=0 if force else debounce),
        candidates=tuple(candidates),
        parameters=parameters,
        force=force,
        tune=tune,
        cause=cause(str(identity)),
    ),
    st.sampled_from(["data", "drift", "hand", "tuning"]),
    MOMENTS,
    st.integers(0, 600),
    st.lists(st.sampled_from(["isolation-forest", "autoencoder"]), max_size=2),
    st.dictionaries(st.just("autoencoder"), st.just({"epochs": 1})),
    st.booleans(),
    st.booleans(),
    st.integers(0, 9),
)


@given(WISHES)
def test_merged_with_itself_or_with_nothing_a_wish_stays(wish: Waiting) -> None:
    assert merge(wish, wish) == merge(wish, None) == merge(None, wish) == wish


@given(WISHES, WISHES)
def test_merging_twice_is_merging_once(first: Waiting, second: Waiting) -> None:
    once = merge(first, second)
    again = merge(once, second)
    assert once is not None
    assert again is not None
    assert again.model_copy(update={"not_before": once.not_before}) == once


@given(WISHES, WISHES)
def test_merging_forgets_neither_force_nor_the_stronger_reason(first: Waiting, second: Waiting) -> None:
    merged = merge(first, second)
    assert merged is not None
    order = ["data", "drift", "hand", "tuning"]
    assert order.index(merged.trigger) == max(order.index(first.trigger), order.index(second.trigger))
    assert merged.force == (first.force or second.force)
    assert merged.cause in (first.cause, second.cause)
    assert merged.candidates == (second.candidates or first.candidates)
    assert merged.not_before >= first.not_before
