"""A candidate passes on figures, never on the lack of them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.messages import EvalFailed, EvalPassed
from homeostat.functions.detector import DriftState
from homeostat.functions.judge_candidate import decide
from tests.functions.detectors import NOON, completed, detector, none, only, remembered, run, spec

WAITING = detector(run=run(), new_rows=0)
GOOD = {"vus_pr": 0.6, "false_alarm_rate": 0.02, "latency_ms": 1.0}


def test_a_candidate_that_holds_every_gate_passes() -> None:
    verdict = only(EvalPassed, decide(completed(), WAITING))
    assert [gate.name for gate in verdict.gates] == ["vus_pr", "false_alarm_rate", "latency_ms"]
    assert all(gate.passed for gate in verdict.gates)
    assert (verdict.run, verdict.uri, verdict.algorithm) == (
        "pump-run",
        "models/pump-run",
        "isolation-forest",
    )


def test_what_passed_is_awaited_by_the_rollout() -> None:
    status = remembered(decide(completed(), WAITING), WAITING)
    assert status.run is None
    assert status.judging is not None
    assert (status.judging.run, status.judging.since) == ("pump-run", NOON)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("vus_pr", 0.39),
        ("false_alarm_rate", 0.11),
        ("latency_ms", 20.1),
        *[(name, figure) for name in GOOD for figure in (None, math.nan)],
    ],
)
def test_one_bad_or_missing_figure_fails_the_candidate(name: str, bad: float | None) -> None:
    verdict = only(EvalFailed, decide(completed(metrics={**GOOD, name: bad}), WAITING))
    assert [gate.name for gate in verdict.gates if not gate.passed] == [name]


@pytest.mark.parametrize("name", GOOD)
def test_a_figure_that_is_not_told_fails_the_candidate(name: str) -> None:
    told = {key: value for key, value in GOOD.items() if key != name}
    verdict = only(EvalFailed, decide(completed(metrics=told), WAITING))
    assert [gate.name for gate in verdict.gates if not gate.passed] == [name]


def test_limits_themselves_pass() -> None:
    metrics = {"vus_pr": 0.4, "false_alarm_rate": 0.1, "latency_ms": 20.0}
    assert only(EvalPassed, decide(completed(metrics=metrics), WAITING))


@pytest.mark.parametrize(("champion", "passes"), [(0.25, True), (0.5, True), (0.51, False)])
def test_the_candidate_must_beat_the_champion_by_what_is_asked(champion: float, passes: bool) -> None:
    one = detector(asked=spec(gate={"improve": 0.25}), run=run())
    event = completed(metrics={**GOOD, "vus_pr": 0.75}, champion_metrics={"vus_pr": champion})
    verdict = list(decide(event, one))
    only(EvalPassed if passes else EvalFailed, verdict)


def test_the_gates_metric_is_the_one_of_the_spec() -> None:
    one = detector(asked=spec(gate={"metric": "f1", "min": 0.9}), run=run())
    verdict = only(EvalFailed, decide(completed(metrics={**GOOD, "f1": 0.8}), one))
    assert [gate.name for gate in verdict.gates if not gate.passed] == ["f1"]


def test_a_failed_candidate_frees_the_detector_and_lets_drift_be_reported_again() -> None:
    one = detector(run=run(), drift=DriftState(revision="r1", consecutive=9, latched=True))
    status = remembered(decide(completed(metrics={}), one), one)
    assert (status.run, status.judging) == (None, None)
    assert not status.drift.latched
    assert "vus_pr not measured is not >= 0.4" in status.message


def test_a_passed_candidate_leaves_drift_latched_until_it_serves() -> None:
    one = detector(run=run(), drift=DriftState(revision="r1", consecutive=9, latched=True))
    assert remembered(decide(completed(), one), one).drift.latched


@pytest.mark.parametrize("waits", [None, run("another")])
def test_a_run_that_nobody_waits_for_is_not_judged(waits: Any) -> None:
    one = detector(run=waits)
    messages = list(decide(completed(), one))
    assert none((EvalPassed, EvalFailed), messages)
    assert remembered(messages, one).run == waits


FIGURE = st.none() | st.floats(allow_nan=True)


@given(
    st.fixed_dictionaries(dict.fromkeys(GOOD, FIGURE)),
    st.none() | st.fixed_dictionaries({"vus_pr": FIGURE}),
)
def test_nothing_passes_that_was_not_measured_within_its_limits(
    metrics: dict[str, float | None], champion: dict[str, float | None] | None
) -> None:
    messages = list(decide(completed(metrics=metrics, champion_metrics=champion), WAITING))
    if none(EvalPassed, messages):
        only(EvalFailed, messages)
        return
    vus, alarms, slow = (metrics[name] for name in GOOD)
    assert vus is not None
    assert alarms is not None
    assert slow is not None
    assert vus >= 0.4
    assert alarms <= 0.1
    assert slow <= 20
    assert not champion or champion["vus_pr"] is None or vus >= champion["vus_pr"]
