"""A Detector's conditions: what events and statuses make of them, and that their list stays one that
Kubernetes takes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing import codec
from homeostat.eventing.messages import (
    CanaryAdvanced,
    CanaryRolledBack,
    CanaryStarted,
    CanaryTick,
    ModelPromoted,
    RollbackRequested,
    TrainingCompleted,
    TrainingFailed,
    TuningCompleted,
    TuningFailed,
)
from homeostat.eventing.wire import WireEvent
from homeostat.functions.work import WORDS
from homeostat.infra.cluster import conditions
from homeostat.infra.cluster.conditions import Condition
from homeostat.infra.outcome import Outcome
from homeostat.infra.trouble import Trouble, rfc3339
from tests.functions.detectors import NOON, SECOND, canary, cause, completed, detector, run

MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))
CHANGES = st.builds(
    Condition,
    type=st.sampled_from(["Ready", "Trained", "CarriedOut"]),
    status=st.sampled_from(["True", "False", "Unknown"]),
    reason=st.sampled_from(["Running", "Recovered"]),
    message=st.text(max_size=5),
)
OTHERS = {
    "type": "SomebodyElses",
    "status": "True",
    "reason": "R",
    "message": "",
    "lastTransitionTime": "2020-01-01T00:00:00Z",
}


@given(st.lists(st.tuples(st.lists(CHANGES, max_size=4), MOMENTS), max_size=6))
def test_a_conditions_time_is_that_of_its_last_change_of_status(
    steps: list[tuple[list[Condition], datetime]],
) -> None:
    stored: list[dict[str, Any]] = [OTHERS]
    for generation, (changes, now) in enumerate(steps):
        before = {one["type"]: one for one in stored}
        stored = conditions.updated(stored, changes, now, generation)
        types = [one["type"] for one in stored]
        assert len(types) == len(set(types)), "the key of a list map"
        assert types[: len(before)] == list(before), "everything in its place"
        last = {one.type: one for one in changes}
        for one in stored:
            change, old = last.get(one["type"]), before.get(one["type"])
            if change is None:
                assert one == old, "what others wrote, and what nothing is said of"
                continue
            assert (one["status"], one["reason"], one["message"]) == (
                change.status,
                change.reason,
                change.message,
            )
            assert one["observedGeneration"] == generation
            same = old is not None and old["status"] == one["status"]
            assert one["lastTransitionTime"] == (old["lastTransitionTime"] if same and old else rfc3339(now))


def test_a_message_is_bounded() -> None:
    (one,) = conditions.updated([], [Condition("Ready", "True", "R", "x" * 40_000)], NOON, 1)
    assert len(one["message"]) == conditions.LONGEST


# --- by event -----------------------------------------------------------------------------------------------
def wire(event: Any) -> WireEvent:
    return codec.announce(event, id="e", source="/t", subject="pump", cause=cause(), now=NOON)


def found(
    before: dict[str, Any],
    after: dict[str, Any],
    *events: Any,
    woke: Any = None,
    function: str = "roll-out",
) -> dict[str, tuple[str, str, str]]:
    statuses = [detector(**one).status for one in (before, after)]
    documents = [{**one.model_dump(mode="json"), "phase": one.phase} for one in statuses]
    outcome = Outcome(
        detector(), [], [wire(one) for one in events], function=function, woke=wire(woke) if woke else None
    )
    said = conditions.said(documents[0], documents[1], outcome)
    return {one.type: (one.status, one.reason, one.message) for one in said if one.type != "Ready"}


FAILED = TrainingFailed(run="pump-run", step="fit", error="out of memory")
PROMOTED = ModelPromoted(revision="r2", algorithm="iforest", version="2", uri="m")
TUNED = TuningCompleted(
    experiment="pump-t", algorithm="iforest", parameters={}, metric="vus_pr", value=0.5, trials=3
)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (CanaryStarted(revision="r2", percent=5), ("RolledOut", ("Unknown", "Canary", "r2 at 5 %"))),
        (CanaryAdvanced(revision="r2", percent=25), ("RolledOut", ("Unknown", "Canary", "r2 at 25 %"))),
        (
            CanaryRolledBack(revision="r2", reason="slow"),
            ("RolledOut", ("False", "RolledBack", "r2: slow")),
        ),
        (PROMOTED, ("RolledOut", ("True", "Promoted", "r2 serves"))),
        (TUNED, ("Tuned", ("True", "ExperimentCompleted", "pump-t: vus_pr 0.5"))),
        (
            TuningFailed(experiment="pump-t", error="no trial"),
            ("Tuned", ("False", "ExperimentFailed", "pump-t: no trial")),
        ),
    ],
)
def test_what_a_decision_tells_is_a_condition(event: Any, expected: tuple[str, Any]) -> None:
    assert found({}, {}, event) == dict([expected])


def test_a_run_that_begins_ends_and_fails() -> None:
    flying = {"run": run()}
    assert found({}, flying)["Trained"] == ("Unknown", "Running", "pump-run: 5000 new rows")
    assert found(flying, flying) == {}
    assert found(flying, {}, woke=completed())["Trained"][:2] == ("True", "RunCompleted")
    assert found(flying, {}, woke=FAILED)["Trained"] == ("False", "RunFailed", "pump-run: fit out of memory")


def test_a_run_that_takes_a_failed_ones_place_is_what_goes_on() -> None:
    after = found({"run": run()}, {"run": run("pump-2")}, woke=FAILED)
    assert after["Trained"] == ("Unknown", "Running", "pump-2: 5000 new rows")


@pytest.mark.parametrize("late", [completed("earlier"), TrainingFailed(run="earlier", error="x")])
def test_what_comes_late_says_nothing_about_the_run_in_flight(late: Any) -> None:
    assert found({"run": run()}, {"run": run()}, woke=late) == {}
    assert found({}, {}, woke=late) == {}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (WORDS["gone"], "RunVanished"),
        ("nothing was heard of it", "RunVanished"),
        (WORDS["failed"], "RunFailed"),
    ],
)
def test_a_run_that_was_looked_for_in_vain_has_vanished(error: str, reason: str) -> None:
    told = TrainingFailed(run="pump-run", error=error)
    after = found({"run": run()}, {}, told, woke=CanaryTick(), function="plan-retraining")
    assert after["Trained"] == ("False", reason, f"pump-run: {error}")


def test_a_run_that_is_gone_without_a_word_has_vanished_too() -> None:
    after = found({"run": run()}, {"message": "given up"}, woke=CanaryTick())
    assert after["Trained"] == ("False", "RunVanished", "pump-run: given up")


@pytest.mark.parametrize(
    ("before", "woke", "reason"),
    [
        ({"canary": canary()}, CanaryTick(), "NeverReady"),
        ({"canary": canary()}, RollbackRequested(), "RolledBack"),
        ({"canary": canary(step_started=NOON + SECOND)}, CanaryTick(), "RolledBack"),
        ({}, RollbackRequested(), "RolledBack"),
    ],
)
def test_only_a_tick_takes_back_what_was_never_ready(before: Any, woke: Any, reason: str) -> None:
    told = CanaryRolledBack(revision="r2", reason="it did not become ready")
    assert found(before, {}, told, woke=woke)["RolledOut"][1] == reason


def test_data_that_do_not_fit_their_words_leave_the_condition_without_a_message() -> None:
    odd = WireEvent({**wire(PROMOTED).attributes}, b"[1]")
    said = list(conditions.said({}, {}, Outcome(detector(), [], [odd])))
    assert [(one.type, one.message) for one in said[1:]] == [("RolledOut", "")]


def test_every_reason_is_one_that_kubernetes_takes() -> None:
    names = [one.reason for one in (*conditions._OWN.values(), *conditions._OF_WORK.values())]
    assert all(one.isalnum() and one[0].isupper() for one in names)
    assert TrainingCompleted.type in conditions._OF_WORK


# --- hindered -----------------------------------------------------------------------------------------------
def test_of_several_hindered_decisions_real_trouble_is_named_before_waiting() -> None:
    waits, fails = Trouble("Waiting", "loads", NOON), Trouble("Forbidden", "no", NOON)
    one = conditions.carried_out([("roll-out", waits), ("plan-retraining", fails)])
    assert one is not None
    assert (one.status, one.reason) == ("False", "Forbidden")
    assert one.message == "plan-retraining: no, since 2026-03-01T12:00:00Z (and 1 more)"
    waiting = conditions.carried_out([("roll-out", waits)])
    assert waiting is not None
    assert waiting.status == "Unknown"
    assert conditions.carried_out([]) is None
