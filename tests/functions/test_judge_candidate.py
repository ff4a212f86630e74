"""A candidate passes on figures, never on the lack of them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.messages import EvalFailed, EvalPassed, TrainingCompleted
from homeostat.functions.detector import Detector, DriftState
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


MORE = {"size_mb": 1.0, "canary_inputs": 1.0, "calibration": 3.0}


def regime(
    candidate: float | None, champion: float | None, *interval: float | None
) -> dict[str, float | None]:
    low, high = interval or (None, None)
    known = candidate is not None and champion is not None
    difference = candidate - champion if known else None  # type: ignore[operator]
    return {
        **{"candidate": candidate, "champion": champion, "difference": difference},
        **{"low": low, "high": high, "rows": 1000.0, "anomalies": 100.0},
    }


UNTOLD = regime(None, None)


def failing(event: TrainingCompleted, one: Detector = WAITING) -> list[str]:
    """The gates that an event fails at."""
    messages = list(decide(event, one))
    verdicts = [each for each in messages if isinstance(each, EvalPassed | EvalFailed)]
    failed = [gate.name for gate in verdicts[0].gates if not gate.passed]
    assert isinstance(verdicts[0], EvalFailed) == bool(failed)
    return failed


def test_the_candidate_must_beat_the_champion_where_the_rows_are_new_not_where_it_was_at_home() -> None:
    over = completed(
        champion_metrics={"vus_pr": 0.9},
        comparison={"new": regime(0.6, 0.3, 0.1, 0.5), "old": regime(0.6, 0.65, -0.1, 0.0)},
    )
    assert failing(over) == []
    under = completed(
        champion_metrics={"vus_pr": 0.1},
        comparison={"new": regime(0.6, 0.7, -0.3, 0.1), "old": UNTOLD},
    )
    assert failing(under) == ["vus_pr_over_champion"]


def test_where_new_rows_cannot_tell_all_of_them_do() -> None:
    untold = {"new": UNTOLD, "old": regime(0.6, 0.7, -0.2, 0.0)}
    event = completed(champion_metrics={"vus_pr": 0.7}, comparison=untold)
    assert failing(event) == ["vus_pr_over_champion"]


@pytest.mark.parametrize(
    ("high", "most", "fails"),
    [(-0.25, 0.2, True), (-0.15, 0.2, False), (0.4, 0.0, False), (-0.01, 0.0, True), (-0.9, None, False)],
)
def test_a_candidate_that_surely_forgot_the_old_regime_gets_no_traffic(
    high: float, most: float | None, fails: bool
) -> None:
    one = detector(asked=spec(gate={"max_loss": most}), run=run())
    comparison = {"new": regime(0.8, 0.3, 0.2, 0.6), "old": regime(0.3, 0.8, -0.95, high)}
    assert failing(completed(comparison=comparison), one) == (["vus_pr_lost_on_old"] if fails else [])


def test_a_loss_that_nobody_can_be_sure_of_is_no_gate() -> None:
    comparison = {"new": regime(0.8, 0.3, 0.2, 0.6), "old": regime(0.3, 0.8)}
    verdict = only(EvalPassed, decide(completed(comparison=comparison), WAITING))
    assert "vus_pr_lost_on_old" not in [gate.name for gate in verdict.gates]


@pytest.mark.parametrize(
    ("name", "bad", "fails"),
    [
        ("size_mb", 201.0, True),
        ("size_mb", None, True),
        ("canary_inputs", 0.875, True),
        ("canary_inputs", None, True),
        ("calibration", 20.1, True),
        ("calibration", math.nan, True),
        ("calibration", None, False),
    ],
)
def test_size_canary_inputs_and_calibration_have_their_limits(
    name: str, bad: float | None, fails: bool
) -> None:
    assert failing(completed(metrics={**GOOD, **MORE})) == []
    assert failing(completed(metrics={**GOOD, **MORE, name: bad})) == ([name] if fails else [])


def test_the_limit_on_calibration_can_be_lifted() -> None:
    one = detector(asked=spec(gate={"max_calibration": None}), run=run())
    assert failing(completed(metrics={**GOOD, **MORE, "calibration": 1e6}), one) == []


def test_either_verdict_says_where_the_report_is() -> None:
    for metrics in (GOOD, {}):
        (verdict,) = [
            one
            for one in decide(completed(metrics=metrics, report="models/pump/report.html"), WAITING)
            if isinstance(one, EvalPassed | EvalFailed)
        ]
        assert verdict.report == "models/pump/report.html"


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
