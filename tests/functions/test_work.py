"""Runs that vanish: the engine is believed after a while, and what nobody has told is told."""

from __future__ import annotations

from typing import Any

import pytest

from homeostat.eventing.messages import ApprovalGiven, CanaryTick, TrainingFailed, TrainingRequested
from homeostat.functions.detector import DriftState
from homeostat.functions.plan_retraining import decide
from homeostat.functions.work import GRACE, WorkFacts
from tests.functions.detectors import HOUR, MINUTE, NOON, SECOND, detector, later, none, only, remembered, run

TICK = CanaryTick()
DATA = TrainingRequested(trigger="data", reason="6000 new rows")
LATCHED = DriftState(revision="r1", consecutive=9, latched=True)


def said(state: Any, detail: str = "") -> WorkFacts:
    return WorkFacts("pump-run", state, detail)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("gone", "it vanished: its engine does not know it (deleted)"),
        ("failed", "it failed, and did not say so (deleted)"),
        ("succeeded", "it succeeded, and its result never arrived (deleted)"),
    ],
)
def test_a_run_whose_engine_has_it_no_more_ends_after_a_while_with_an_event(state: Any, words: str) -> None:
    facts = said(state, "deleted")
    one = detector(NOON + MINUTE, run=run(), drift=LATCHED)
    first = list(decide(TICK, one, facts))
    assert none(TrainingFailed, first), "the event that tells its end may be on its way"
    one = later(one, first, GRACE - SECOND)
    assert none(TrainingFailed, decide(TICK, one, facts))
    one = one.model_copy(update={"now": one.now + SECOND})
    messages = list(decide(TICK, one, facts))
    assert only(TrainingFailed, messages) == TrainingFailed(run="pump-run", error=words)
    status = remembered(messages, one)
    assert (status.run, status.message) == (None, f"run pump-run was lost: {words}")
    assert not status.drift.latched


@pytest.mark.parametrize("state", ["running", None])
def test_a_run_that_is_seen_at_work_or_cannot_be_asked_for_goes_on(state: Any) -> None:
    one = detector(NOON + MINUTE, run=run())
    for _ in range(5):
        one = later(one, decide(TICK, one, said(state)), GRACE)
        assert one.status.run == run()


def test_a_run_that_comes_back_is_given_its_time_anew() -> None:
    one = detector(NOON + MINUTE, run=run())
    for state in ("gone", "running", "gone"):
        one = later(one, decide(TICK, one, said(state)), GRACE)
        assert one.status.run is not None
    assert not none(TrainingFailed, decide(TICK, one, said("gone")))


def test_an_engine_that_cannot_be_asked_for_a_moment_does_not_save_a_run_that_is_gone() -> None:
    one = detector(NOON + MINUTE, run=run())
    one = later(one, decide(TICK, one, said("gone")), GRACE)
    one = later(one, decide(TICK, one, said(None)), SECOND)
    assert not none(TrainingFailed, decide(TICK, one, said("gone")))


def test_what_is_said_of_another_run_counts_for_nothing() -> None:
    one = detector(NOON + HOUR, run=run(started=NOON + HOUR))
    assert remembered(decide(TICK, one, WorkFacts("pump-other", "gone")), one) == one.status


def test_the_echo_of_its_own_words_changes_nothing() -> None:
    lost = run().model_copy(update={"missed": NOON})
    one = detector(NOON + GRACE, run=lost, new_rows=0)
    messages = list(decide(TICK, one, said("gone")))
    one = later(one, messages)
    assert remembered(decide(only(TrainingFailed, messages), one), one) == one.status


def test_only_a_tick_gives_a_run_up() -> None:
    """An approval that approves nothing remembers nothing: the event would be told again."""
    one = detector(NOON + 3 * HOUR, run=run())
    for event in (DATA, ApprovalGiven(approves="?"), TrainingFailed(run="other", error="")):
        assert none(TrainingFailed, decide(event, one))
