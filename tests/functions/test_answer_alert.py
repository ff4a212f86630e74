"""Alerts: what the map says is done, once for each that fires, in whatever order it is told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from homeostat.eventing.errors import Reject
from homeostat.eventing.messages import (
    EVENTS,
    AlertFired,
    AlertResolved,
    CanaryTick,
    RollbackRequested,
    StartTraining,
    StartTuning,
    TrainingRequested,
    TuningRequested,
)
from homeostat.functions import answer_alert, plan_retraining
from homeostat.functions.answer_alert import MOST_INCIDENTS
from homeostat.functions.detector import Detector, Message
from homeostat.functions.spec import Spec
from tests.functions.detectors import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    detector,
    later,
    none,
    only,
    revision,
    run,
    spec,
)
from tests.functions.test_loop import Life

MAP = (
    {"match": {"alertname": "AnomalyRateShift", "severity": "info"}, "action": "ignore"},
    {"match": {"alertname": "~Anomaly.*"}, "action": "retrain"},
    {"match": {"alertname": "Stale"}, "action": "tune"},
    {"match": {"severity": "critical"}, "action": "rollback"},
)


def mapped(**sections: Any) -> Spec:
    return spec(**{"alerts": MAP, "retrain": {"min_drift_rows": 50}, **sections})


def at(minutes: float) -> str:
    return (NOON + minutes * MINUTE).isoformat()


def fired(
    name: str = "AnomalyRateShift", start: float = 0, fingerprint: str = "f", **labels: str
) -> AlertFired:
    return AlertFired(
        alertname=name,
        fingerprint=fingerprint,
        starts_at=at(start),
        labels={"alertname": name, "severity": "warning", **labels},
    )


def resolved(start: float = 0, end: float = 5, fingerprint: str = "f") -> AlertResolved:
    return AlertResolved(
        alertname="AnomalyRateShift", fingerprint=fingerprint, starts_at=at(start), ends_at=at(end)
    )


def asked(messages: Iterable[Message]) -> list[Message]:
    return [one for one in messages if isinstance(one, EVENTS)]


def told(*events: AlertFired | AlertResolved, one: Detector | None = None) -> tuple[Detector, list[Message]]:
    """The detector after these, an hour past noon, and all that was asked for."""
    found, asks = one or detector(HOUR + NOON, asked=mapped()), list[Message]()
    for event in events:
        messages = list(answer_alert.decide(event, found))
        asks += asked(messages)
        found = later(found, messages)
    return found, asks


# --- the map ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (fired(), TrainingRequested(trigger="alert", reason="alert AnomalyRateShift")),
        (fired("Stale"), TuningRequested(trigger="alert", reason="alert Stale")),
        (
            fired("Failing", severity="critical", revision="r2"),
            RollbackRequested(reason="alert Failing", revision="r2"),
        ),
        (fired(severity="info"), None),
        (fired("Unknown"), None),
    ],
    ids=["retrain", "tune", "rollback", "ignore", "no rule"],
)
def test_the_first_rule_that_matches_says_what_is_done(event: AlertFired, expected: Message | None) -> None:
    one, asks = told(event)
    assert asks == ([expected] if expected else [])
    (incident,) = one.status.incidents
    assert incident.alertname == event.alertname
    assert event.alertname in one.status.message


def test_an_alert_is_an_incident_until_it_is_resolved() -> None:
    one, _ = told(fired())
    assert [(kept.fingerprint, kept.action) for kept in one.status.incidents] == [("f", "retrain")]
    one, asks = told(resolved(), one=one)
    assert (one.status.incidents, asks) == ((), [])
    assert one.status.message == "alert AnomalyRateShift is over"


# --- repeats, peers, order -------------------------------------------------------------------------------
def test_a_repeat_changes_nothing_however_a_peer_writes_the_time() -> None:
    one, _ = told(fired())
    for same in (fired(), replace(fired(), starts_at="2026-03-01T13:00:00.000+01:00")):
        assert list(answer_alert.decide(same, one)) == []


def test_two_prometheus_are_one_alert_whose_end_closes_it() -> None:
    """Alertmanager takes the earlier start of the two, once it has heard of both."""
    one, asks = told(fired(start=0.1), fired(start=0), resolved(start=0))
    assert (len(asks), one.status.incidents) == (1, ())


def test_a_later_start_is_another_incident_whose_predecessors_end_was_not_told() -> None:
    one, asks = told(fired(start=0), fired(start=10))
    assert len(asks) == 2
    assert [kept.starts_at for kept in one.status.incidents] == [at(10)]
    one, _ = told(resolved(start=0, end=5), one=one)
    assert len(one.status.incidents) == 1, "the end of the first says nothing of the second"


def test_an_end_that_overtakes_its_alert_is_the_end_of_it() -> None:
    one, asks = told(resolved(), fired())
    assert (one.status.incidents, asks, one.status.message) == ((), [], "")
    _, asks = told(fired(start=6), one=one)
    assert len(asks) == 1, "what fires after it is news"


def test_an_end_in_the_future_does_not_silence_what_fires_until_then() -> None:
    _, asks = told(resolved(start=0, end=10_000), fired(start=61))
    assert len(asks) == 1


def test_only_so_many_are_remembered() -> None:
    one, _ = told(*(fired(fingerprint=f"f{place}") for place in range(MOST_INCIDENTS + 5)))
    assert [kept.fingerprint for kept in one.status.incidents][::99] == ["f5", "f104"]
    one, _ = told(*(resolved(end=place / 10, fingerprint=f"f{place}") for place in range(130)), one=one)
    assert one.status.incidents == ()
    assert len(one.status.over) == MOST_INCIDENTS


@pytest.mark.parametrize("when", ["", "yesterday", "2026-03-01T12:00:00"])
def test_a_time_that_is_none_is_refused_by_field(when: str) -> None:
    event = replace(fired(), starts_at=when)
    with pytest.raises(Reject, match=r"starts_at .* write RFC 3339"):
        list(answer_alert.decide(event, detector(asked=mapped())))


STORIES = st.lists(
    st.tuples(st.sampled_from("fgh"), st.integers(1, 3), st.integers(1, 3)),
    max_size=6,
    unique_by=lambda s: s[0],
)


@given(st.data(), STORIES)
def test_whatever_is_told_twice_or_out_of_order_each_alert_is_answered_once(
    data: st.DataObject, stories: list[tuple[str, int, int]]
) -> None:
    """Each fingerprint fires so often, and the last may still fire: at the end exactly those are open."""
    events: list[AlertFired | AlertResolved] = []
    open_, starts = set(), 0
    for fingerprint, times, ends in stories:
        starts += times
        events += [fired(start=10 * one, fingerprint=fingerprint) for one in range(times)]
        events += [resolved(10 * one, 10 * one + 5, fingerprint) for one in range(min(times, ends))]
        open_ |= {fingerprint} if ends < times else set()
    repeats = data.draw(st.lists(st.sampled_from(events), max_size=6)) if events else []
    one, asks = told(*data.draw(st.permutations([*events, *repeats])))
    assert {kept.fingerprint for kept in one.status.incidents} == open_
    assert len(asks) <= starts
    one, asks = told(*events, one=one)
    assert asks == [], "all of it once more is no news"


@given(STORIES)
def test_in_order_each_start_is_asked_about_once(stories: list[tuple[str, int, int]]) -> None:
    events: list[AlertFired | AlertResolved] = []
    for fingerprint, times, _ in stories:
        for place in range(times):
            start = fired(start=10 * place, fingerprint=fingerprint)
            events += [start, start, resolved(10 * place, 10 * place + 5, fingerprint), start]
    one, asks = told(*events)
    assert len(asks) == sum(times for _, times, _ in stories)
    assert one.status.incidents == ()


# --- what becomes of the wish ----------------------------------------------------------------------------
def planned(event: Any, one: Detector) -> tuple[Detector, list[Message]]:
    messages = list(plan_retraining.decide(event, one))
    return later(one, messages), messages


WISH = TrainingRequested(trigger="alert", reason="alert AnomalyRateShift")


def test_an_alert_starts_a_training_that_says_so() -> None:
    one, _ = told(fired())
    one, messages = planned(WISH, one)
    assert not none(StartTraining, messages)
    assert one.status.run
    assert (one.status.run.trigger, one.status.run.reason) == ("alert", "alert AnomalyRateShift")


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"starts": (NOON + HOUR - SECOND,)}, "cooling down"),
        ({"starts": (NOON - HOUR, NOON)}, "budget of 2"),
        ({"new_rows": 20}, "20 of 50 new rows"),
        ({"batches": ()}, "no data"),
    ],
)
def test_an_alert_passes_every_guard_that_others_pass(status: dict[str, Any], why: str) -> None:
    asked = mapped(retrain={"min_drift_rows": 50, "budget_per_day": 2})
    one, _ = told(fired(), one=detector(NOON + HOUR, asked=asked, **status))
    one, messages = planned(WISH, one)
    assert none(StartTraining, messages)
    assert one.status.waiting
    assert why in one.status.message


def test_an_alert_that_fires_during_a_run_is_looked_at_again_after_it() -> None:
    began = NOON + HOUR
    busy = detector(began, asked=mapped(), new_rows=100, run=run(started=began), starts=(began,))
    busy, _ = told(fired(), one=busy)
    busy, messages = planned(WISH, busy)
    assert none(StartTraining, messages)
    free = free_of(busy, run=None)
    fires, messages = planned(CanaryTick(), free)
    assert not none(StartTraining, messages), "it still fires"
    over, _ = told(resolved(end=70), one=free)
    over, messages = planned(CanaryTick(), over)
    assert none(StartTraining, messages)
    assert over.status.waiting is None, "it is over: the wish is dropped"
    assert fires.status.run


def free_of(one: Detector, **changes: Any) -> Detector:
    """Settled, when the cooldown is over."""
    return one.model_copy(
        update={"status": one.status.model_copy(update=changes), "now": one.now + 11 * MINUTE}
    )


def test_a_promotion_since_the_alert_gets_a_while_to_end_it() -> None:
    busy, _ = told(fired(), one=detector(NOON, asked=mapped(), run=run()))
    busy, _ = planned(WISH, busy)
    promoted = busy.now + 10 * MINUTE
    fresh = free_of(busy, run=None, serving=revision("r2", promoted=promoted), starts=(NOON,))
    fresh, messages = planned(CanaryTick(), fresh)
    assert none(StartTraining, messages)
    still = fresh.model_copy(update={"now": promoted + 11 * MINUTE})
    assert not none(StartTraining, planned(CanaryTick(), still)[1]), "it did not end"


def test_a_wish_that_an_alert_swallowed_is_not_lost_with_it() -> None:
    busy, _ = told(fired(), one=detector(NOON, asked=mapped(), run=run(), new_rows=6000))
    busy, _ = planned(TrainingRequested(trigger="data", reason="6000 new rows"), busy)
    busy, _ = planned(WISH, busy)
    over, _ = told(resolved(end=1), one=busy.model_copy(update={"now": NOON + 2 * MINUTE}))
    over, messages = planned(CanaryTick(), free_of(over, run=None))
    assert only(StartTraining, messages)
    assert over.status.run
    assert over.status.run.trigger == "data"


def test_an_alert_may_ask_for_better_parameters() -> None:
    one, asks = told(fired("Stale"), one=detector(NOON, asked=mapped(), serving=revision("r1")))
    one, messages = planned(asks[0], one)
    assert only(StartTuning, messages)
    assert one.status.tuning
    assert one.status.tuning.trigger == "alert"


# --- in the whole loop -----------------------------------------------------------------------------------
class LifeWithAlerts(Life):
    """The loop's life, with alerts that fire and end, told late and twice as everything there is."""

    @rule(name=st.sampled_from(["AnomalyRateShift", "Stale", "Failing"]), peers=st.integers(1, 2))
    def an_alert_fires(self, name: str, peers: int) -> None:
        self.loop.spec = self.loop.spec.model_copy(update={"alerts": mapped().alerts})
        critical = {"severity": "critical"} if name == "Failing" else {}
        event = fired(name, fingerprint=name, start=(self.loop.now - NOON) / MINUTE, **critical)
        self.loop.post(*[event] * peers)

    @rule(name=st.sampled_from(["AnomalyRateShift", "Stale", "Failing"]))
    def an_alert_ends(self, name: str) -> None:
        end = (self.loop.now - NOON) / MINUTE
        self.loop.post(resolved(start=max(end - 1, 0), end=end, fingerprint=name))

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            while self.loop.pending:
                self.loop.deliver(0, self.facts("measured"))
            for name in ("AnomalyRateShift", "Stale", "Failing"):
                self.an_alert_ends(name)
            assert len(self.loop.status.incidents) <= 3
        super().teardown()
        if hasattr(self, "loop"):
            assert self.loop.status.incidents == ()


TestLifeWithAlerts = LifeWithAlerts.TestCase
TestLifeWithAlerts.settings = settings(
    max_examples=12, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
