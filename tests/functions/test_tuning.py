"""Better parameters: when they are searched for, what comes of them, and how a search ends."""

from __future__ import annotations

from typing import Any

import pytest

from homeostat.eventing.messages import (
    ApprovalGiven,
    ApprovalRequested,
    CanaryTick,
    StartTraining,
    StartTuning,
    TrainingRequested,
    TuningCompleted,
    TuningFailed,
    TuningRequested,
)
from homeostat.functions import judge_candidate, plan_retraining, roll_out
from homeostat.functions.detector import Detector, DriftState, Judging, Tuning
from homeostat.functions.plan_retraining import LONGEST_EXPERIMENT, experiment_name, run_name
from homeostat.functions.work import GRACE, WorkFacts
from tests.functions.detectors import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    canary,
    cause,
    completed,
    detector,
    drifted,
    later,
    none,
    only,
    passed,
    remembered,
    revision,
    run,
    spec,
)

TICK = CanaryTick()
WANTED = spec(tuning={"when": "drift-persists"})
HAND = TuningRequested(reason="new sensor")
LATCHED = DriftState(revision="r1", consecutive=9, latched=True)
FOUND = TuningCompleted(
    experiment="pump-tune-1",
    algorithm="isolation-forest",
    parameters={"trees": 200, "window": 30},
    metric="vus_pr",
    value=0.83,
    trials=20,
)
FAILED = TuningFailed(experiment="pump-tune-1", error="ExperimentFailed: too many trials failed")


def plan(event: Any, one: Detector, work: WorkFacts | None = None) -> list[Any]:
    return list(plan_retraining.decide(event, one, work))


def tuning(trigger: Any = "drift", **fields: Any) -> Tuning:
    known = {"name": "pump-tune-1", "algorithm": "isolation-forest", "started": NOON, "reason": "drift"}
    return Tuning(**{**known, "trigger": trigger, "cause": cause("drift"), **fields})


def answered(**status: Any) -> Detector:
    """A detector whose revision was promoted in answer to drift."""
    return detector(
        NOON + HOUR,
        asked=status.pop("asked", WANTED),
        **{"serving": revision(trigger="drift", promoted=NOON), **status},
    )


# --- when ------------------------------------------------------------------------------------------------
def test_drift_that_is_there_again_after_a_training_for_it_is_tuned() -> None:
    one = answered()
    messages = plan(drifted(channels=("Current",)), one)
    command = only(StartTuning, messages)
    assert none(StartTraining, messages)
    assert (command.algorithm, command.champion) == ("isolation-forest", "models/r1")
    assert command.data == ("s3://plant/pump/a.csv",)
    status = remembered(messages, one)
    assert status.tuning is not None
    assert (status.tuning.name, status.tuning.trigger) == (command.experiment, "drift")
    assert status.tuning.cause == one.cause
    assert (status.phase, status.starts, status.waiting) == ("Tuning", (one.now,), None)
    assert status.new_rows == 6000, "a search fits nothing that serves: the rows are still new"
    assert status.message == "tuning isolation-forest for drift that persists in Current"


@pytest.mark.parametrize(
    "one",
    [
        answered(asked=spec()),
        answered(serving=revision(trigger="data", promoted=NOON)),
        answered(serving=revision(trigger="tuning", promoted=NOON)),
        answered(serving=revision(promoted=NOON)),
    ],
    ids=["never", "for data", "for tuning", "of an older version"],
)
def test_other_drift_is_trained_for(one: Detector) -> None:
    messages = plan(drifted(), one)
    assert only(StartTraining, messages)
    assert none(StartTuning, messages)


def test_why_a_revision_was_trained_goes_with_it_until_it_serves() -> None:
    one = detector(serving=revision("r1"))
    one = later(one, plan(drifted(), one))
    assert one.status.run is not None
    one = later(one, judge_candidate.decide(completed(one.status.run.name), one))
    assert one.status.judging is not None
    one = later(one, roll_out.decide(passed(one.status.judging.run), one, None))
    assert one.status.canary is not None
    assert one.status.canary.revision.trigger == "drift"


def test_people_need_nothing_but_data() -> None:
    one = detector(new_rows=0, serving=revision("r1", algorithm="kmeans-ad"))
    assert only(StartTuning, plan(HAND, one)).algorithm == "kmeans-ad"


@pytest.mark.parametrize(
    ("event", "serving", "tuned"),
    [
        (TuningRequested(candidates=("autoencoder", "gan")), "kmeans-ad", "autoencoder"),
        (HAND, "kmeans-ad", "kmeans-ad"),
        (HAND, "one-that-left", "ensemble"),
        (HAND, None, "ensemble"),
    ],
)
def test_one_candidate_is_tuned(event: Any, serving: str | None, tuned: str) -> None:
    one = detector(serving=revision("r1", algorithm=serving) if serving else None)
    assert only(StartTuning, plan(event, one)).algorithm == tuned


# --- guards ----------------------------------------------------------------------------------------------
BUSY: dict[str, dict[str, Any]] = {
    "training": {"run": run()},
    "tuning": {"tuning": tuning()},
    "judging": {"judging": Judging(run="r2", since=NOON)},
    "canary": {"canary": canary()},
}


@pytest.mark.parametrize("phase", BUSY)
@pytest.mark.parametrize("event", [HAND, TuningRequested(force=True), TrainingRequested(force=True)])
def test_nothing_is_started_beside_what_is_in_flight(event: Any, phase: str) -> None:
    one = detector(**BUSY[phase])
    messages = plan(event, one)
    assert none((StartTuning, StartTraining), messages)
    status = remembered(messages, one)
    assert status.waiting is not None
    assert phase in status.message


GUARDED: dict[str, dict[str, Any]] = {
    "cooling down": {"starts": (NOON - MINUTE,)},
    "budget of 1": {"asked": spec(retrain={"budget_per_day": 1}), "starts": (NOON - HOUR,)},
    "debounced": {"asked": spec(retrain={"debounce": "1m"})},
}


@pytest.mark.parametrize("words", GUARDED)
def test_a_search_passes_the_guards_of_a_training(words: str) -> None:
    one = detector(**GUARDED[words])
    messages = plan(HAND, one)
    assert none(StartTuning, messages)
    assert remembered(messages, one).message.startswith(
        f"tuning waits: {'the ' if 'budget' in words else ''}{words}"
    )
    assert only(StartTuning, plan(TuningRequested(force=True), one))


def test_a_search_counts_in_the_budget_and_for_the_cooldown() -> None:
    one = detector()
    one = later(one, plan(HAND, one))
    one = one.model_copy(update={"status": one.status.model_copy(update={"tuning": None})})
    assert "cooling down" in remembered(plan(HAND, one), one).message


def test_a_wish_to_train_that_waits_beside_one_to_tune_is_answered_by_the_search() -> None:
    one = detector(run=run())
    for event in (TrainingRequested(trigger="data", reason="rows"), HAND):
        one = later(one, plan(event, one))
    one = one.model_copy(update={"status": one.status.model_copy(update={"run": None})})
    messages = plan(TICK, one)
    assert only(StartTuning, messages)
    assert none(StartTraining, messages)


def test_drift_that_another_promotion_answered_is_not_tuned_for() -> None:
    one = answered(run=run(started=NOON + HOUR))
    one = later(one, plan(drifted(), one))
    answers = {"run": None, "serving": revision("r2", trigger="drift", promoted=NOON + 2 * HOUR)}
    one = one.model_copy(update={"status": one.status.model_copy(update=answers), "now": NOON + 3 * HOUR})
    messages = plan(TICK, one)
    assert none(StartTuning, messages)
    assert only(StartTraining, messages), "for the 6000 new rows"


def test_a_search_is_asked_for_in_suggest_mode() -> None:
    one = detector(asked=spec("suggest"))
    messages = plan(HAND, one)
    assert none(StartTuning, messages)
    name = experiment_name("pump", "e1")
    assert only(ApprovalRequested, messages).commands == (f"StartTuning {name} of ensemble",)
    one = later(one, messages)
    assert one.status.tuning is None
    approved = plan(ApprovalGiven(approves=one.status.held[0].id, by="ada"), one)
    assert only(StartTuning, approved).experiment == name


def test_what_a_search_found_is_asked_for_as_well_and_not_lost_meanwhile() -> None:
    one = detector(asked=spec("suggest"), tuning=tuning())
    one = later(one, plan(FOUND, one), HOUR)
    assert one.status.tuning is None
    messages = plan(ApprovalGiven(approves=one.status.held[0].id), one)
    assert only(StartTraining, messages).parameters == {"isolation-forest": dict(FOUND.parameters)}


# --- names -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["p", "pump", "a" * 42, "a" * 23 + "-" + "b" * 18])
def test_a_searchs_name_derives_from_its_cause_and_is_short_enough_for_katib(name: str) -> None:
    one = experiment_name(name, "e1")
    assert one == experiment_name(name, "e1")
    assert one != experiment_name(name, "e2")
    assert len(one) <= LONGEST_EXPERIMENT
    assert "--" not in one


def test_long_names_that_begin_alike_have_searches_of_their_own() -> None:
    assert experiment_name("a" * 41 + "b", "e1") != experiment_name("a" * 41 + "c", "e1")


# --- what comes of it ------------------------------------------------------------------------------------
def test_what_was_found_is_trained_with_at_once() -> None:
    asked = spec(retrain={"debounce": "1h", "budget_per_day": 1})
    one = detector(asked=asked, tuning=tuning(), starts=(NOON,), new_rows=3, woken_by="found")
    messages = plan(FOUND, one)
    command = only(StartTraining, messages)
    assert command.candidates == ("isolation-forest",)
    assert command.parameters == {"isolation-forest": {"trees": 200, "window": 30}}
    assert command.run == run_name("pump", "found")
    status = remembered(messages, one)
    assert status.tuning is None
    assert status.run is not None
    assert (status.run.trigger, status.run.cause) == ("tuning", one.cause)
    assert status.message == "training for the parameters that pump-tune-1 found, vus_pr 0.83"


def test_what_was_found_is_told_twice_and_trained_with_once() -> None:
    one = detector(tuning=tuning())
    one = later(one, plan(FOUND, one))
    assert none(StartTraining, plan(FOUND, one))
    assert remembered(plan(FOUND, one), one) == one.status


def test_what_another_search_found_changes_nothing() -> None:
    one = detector(tuning=tuning(name="pump-tune-2"))
    assert remembered(plan(FOUND, one), one) == one.status


def test_a_wish_for_another_search_has_its_answer() -> None:
    one = detector(tuning=tuning())
    one = later(one, plan(HAND, one))
    messages = plan(FOUND, one)
    assert none(StartTuning, messages)
    assert only(StartTraining, messages).parameters


def test_what_serves_was_trained_with_is_what_its_successors_are_trained_with() -> None:
    one = detector(tuning=tuning())
    one = later(one, plan(FOUND, one))
    assert one.status.run is not None
    one = later(one, judge_candidate.decide(completed(one.status.run.name), one))
    messages = list(roll_out.decide(passed(one.status.judging.run if one.status.judging else ""), one, None))
    trial = remembered(messages, one).canary
    assert trial is not None
    assert trial.revision.trigger == "tuning"
    next_one = detector(serving=trial.revision.model_copy(update={"promoted": NOON}))
    asked = TrainingRequested(parameters={"autoencoder": {"epochs": 3}})
    assert only(StartTraining, plan(asked, next_one)).parameters == {
        "isolation-forest": {"trees": 200, "window": 30},
        "autoencoder": {"epochs": 3},
    }


def test_a_search_for_drift_that_failed_is_made_up_for_by_a_training() -> None:
    one = detector(NOON + HOUR, tuning=tuning(), drift=LATCHED, serving=revision(trigger="drift"))
    messages = plan(FAILED, one)
    command = only(StartTraining, messages)
    assert command.candidates == one.spec.candidates
    status = remembered(messages, one)
    assert (status.tuning, status.drift.latched) == (None, False)
    assert status.message.startswith("training for drift, as tuning failed: ExperimentFailed")


def test_drift_that_is_reported_once_more_while_that_training_waits_asks_for_no_other_search() -> None:
    one = answered(tuning=tuning(), starts=(NOON + HOUR - MINUTE,))
    one = later(one, plan(FAILED, one))
    assert "cooling down" in one.status.message
    one = later(one, plan(drifted(), one), HOUR)
    messages = plan(TICK, one)
    assert none(StartTuning, messages)
    assert only(StartTraining, messages)


def test_a_search_that_people_wanted_and_that_failed_leaves_the_loop_as_it_was() -> None:
    one = detector(tuning=tuning("hand"), drift=LATCHED)
    messages = plan(FAILED, one)
    assert none((StartTuning, StartTraining), messages)
    status = remembered(messages, one)
    assert (status.tuning, status.waiting) == (None, None)
    assert not status.drift.latched
    assert status.message.startswith("pump-tune-1 failed: ExperimentFailed")


def test_the_failure_of_another_search_changes_nothing() -> None:
    one = detector(tuning=tuning(name="pump-tune-2"), drift=LATCHED)
    assert remembered(plan(FAILED, one), one) == one.status


# --- searches that vanish --------------------------------------------------------------------------------
@pytest.mark.parametrize("state", ["gone", "failed", "succeeded"])
def test_a_search_that_vanished_ends_with_an_event_and_drift_is_trained_for(state: Any) -> None:
    facts = WorkFacts("pump-tune-1", state, "no Katib")
    one = detector(NOON + HOUR, tuning=tuning(), serving=revision(trigger="drift"))
    one = later(one, plan(TICK, one, facts), GRACE)
    messages = plan(TICK, one, facts)
    told = only(TuningFailed, messages)
    assert told.experiment == "pump-tune-1"
    assert "no Katib" in told.error
    assert only(StartTraining, messages).run == run_name("pump", "drift"), "it goes back to the drift"
    one = later(one, messages)
    assert remembered(plan(told, one), one) == one.status, "its own echo"


def test_a_search_whose_end_was_told_and_not_heard_is_given_up_too() -> None:
    facts = WorkFacts("pump-tune-1", "succeeded")
    one = detector(NOON + HOUR, tuning=tuning("hand", ended=NOON))
    one = later(one, plan(TICK, one, facts), GRACE)
    assert only(TuningFailed, plan(TICK, one, facts))


def test_a_search_is_given_up_after_twice_its_time() -> None:
    asked = spec(tuning={"timeout": "1h"})
    assert none(TuningFailed, plan(TICK, detector(NOON + 2 * HOUR, asked=asked, tuning=tuning())))
    one = detector(NOON + 2 * HOUR + SECOND, asked=asked, tuning=tuning("hand"))
    assert "twice spec.tuning.timeout" in only(TuningFailed, plan(TICK, one)).error
