"""A rollback alert beats everything else that is under way: a promotion that is due, a pause, a question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from homeostat.eventing.messages import (
    AlertFired,
    ApprovalGiven,
    ApprovalRequested,
    CanaryTick,
    Promote,
    RollBack,
    RollbackRequested,
    RolloutRequested,
    TrainingRequested,
)
from homeostat.functions import answer_alert, judge_candidate, plan_retraining, roll_out
from homeostat.functions.canary import CanaryFacts
from homeostat.functions.detector import Detector, Message, RevisionFigures
from tests.functions.detectors import (
    MINUTE,
    NOON,
    canary,
    completed,
    detector,
    figures,
    later,
    none,
    only,
    revision,
    run,
    spec,
)

RULES = [{"match": {"severity": "critical"}, "action": "rollback"}]
GOOD = CanaryFacts(ready=True, canary=figures(50_000), stable=figures(50_000))
R1, R2 = "r1", "r2"


def fired(revision: str = R2) -> AlertFired:
    labels = {"alertname": "Failing", "severity": "critical", **({"revision": revision} if revision else {})}
    return AlertFired(
        alertname="Failing", fingerprint=f"of-{revision}", starts_at=NOON.isoformat(), labels=labels
    )


def due(paused: bool = False, **sections: Any) -> Detector:
    """Its canary has had its last step, and was better than it had to be."""
    trial = canary(R2, 50, base_canary=RevisionFigures(), base_stable=RevisionFigures(), paused=paused)
    asked = spec(alerts=RULES, **sections)  # type: ignore[arg-type]
    serving = revision(R1, promoted=NOON - MINUTE)
    return detector(NOON + 30 * MINUTE, asked=asked, canary=trial, serving=serving)


def tick(one: Detector) -> tuple[Detector, list[Message]]:
    messages = list(roll_out.decide(CanaryTick(), one, GOOD))
    return later(one, messages), messages


def alert(one: Detector, revision: str = R2) -> tuple[Detector, list[Message]]:
    """It fires, and what it asks for is handed on."""
    answered = list(answer_alert.decide(fired(revision), one))
    wish = only(RollbackRequested, answered)
    one = later(one, answered)
    messages = list(roll_out.decide(wish, one, GOOD))
    return later(one, messages), messages


def after(one: Detector, *steps: Callable[[Detector], tuple[Detector, list[Message]]]) -> Detector:
    for step in steps:
        one, _ = step(one)
    return one


def test_a_promotion_is_due() -> None:
    assert not none(Promote, tick(due())[1]), "or the tests below say nothing"


@pytest.mark.parametrize("named", [R2, ""], ids=["by its revision", "by nobody's"])
@pytest.mark.parametrize("order", [(alert, tick), (tick, alert)], ids=["before the tick", "after it"])
def test_the_alert_beats_a_promotion_on_the_same_tick(order: Sequence[Any], named: str) -> None:
    steps = [(lambda one: alert(one, named)) if step is alert else step for step in order]
    status = after(due(), *steps, tick).status
    assert (status.serving and status.serving.name, status.canary) == (R1, None)


def test_the_alert_beats_a_pause_and_a_promotion_by_hand() -> None:
    def by_hand(one: Detector) -> tuple[Detector, list[Message]]:
        messages = list(roll_out.decide(RolloutRequested(action="promote"), one, GOOD))
        return later(one, messages), messages

    paused, messages = alert(due(paused=True))
    assert only(RollBack, messages).revision == R2
    assert after(paused, by_hand, tick).status.canary is None
    status = after(due(), by_hand, alert).status
    assert status.serving
    assert status.serving.name == R1


@pytest.mark.parametrize("sections", [{"canary": {"approval": "promotion"}}, {"mode": "suggest"}])
def test_an_approval_that_comes_after_the_alert_promotes_nothing(sections: dict[str, Any]) -> None:
    asking, messages = tick(due(**sections))
    only(ApprovalRequested, messages)
    (question,) = asking.status.held
    answered, messages = alert(asking)
    if sections.get("mode") == "suggest":
        # It stops before each command, this one too; people are asked both.
        (rollback,) = [one for one in answered.status.held if one.type == RollbackRequested.type]
        messages = list(roll_out.decide(ApprovalGiven(approves=rollback.id), answered, GOOD))
        answered = later(answered, messages)
    assert only(RollBack, messages).revision == R2
    late = list(roll_out.decide(ApprovalGiven(approves=question.id), answered, GOOD))
    assert none(Promote, late)
    status = later(answered, late).status
    assert (status.serving and status.serving.name, status.canary) == (R1, None)


def test_an_alert_about_a_revision_that_is_gone_takes_nothing_back() -> None:
    one, messages = alert(due(), "r0")
    assert none(RollBack, messages)
    assert one.status.canary


def test_a_training_in_flight_goes_on_and_its_candidate_is_judged() -> None:
    """What is taken back is what serves; the candidate may be the better answer."""
    asked = spec(alerts=RULES)  # type: ignore[arg-type]
    serving = {"serving": revision(R2), "previous": revision(R1)}
    training = detector(asked=asked, run=run("r3"), **serving)
    back, messages = alert(training)
    assert only(RollBack, messages).restore == R1
    assert back.status.run == training.status.run
    judged = list(judge_candidate.decide(completed("r3"), back))
    assert later(back, judged).status.judging


def test_a_rollback_asks_for_no_training_and_a_wish_that_waits_is_kept() -> None:
    waiting = later(due(), plan_retraining.decide(TrainingRequested(), due()))
    assert waiting.status.waiting
    assert after(waiting, alert).status.waiting == waiting.status.waiting
