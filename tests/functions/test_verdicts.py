"""Surely worse goes back, no worse goes on, and what is not known is neither."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.functions.comparisons import Trial
from homeostat.functions.detector import Quality, RevisionFigures
from homeostat.functions.spec import CanarySpec
from homeostat.functions.verdicts import Verdict, judge, judge_by_labels, words
from tests.functions.detectors import NOON, figures

SPEC = CanarySpec()
STABLE = figures(4000, anomalies=200)


def judged(
    canary: RevisionFigures, stable: RevisionFigures | None, spec: CanarySpec = SPEC, **how: Any
) -> Verdict:
    return judge(spec, 20.0, canary, stable, **{"percent": 5, **how})


def test_no_worse_than_stable_advances() -> None:
    assert judged(figures(200, anomalies=10), STABLE).outcome == "advance"


def test_no_traffic_holds() -> None:
    assert judged(RevisionFigures(), STABLE).outcome == "hold"
    assert judged(RevisionFigures(), None).outcome == "hold"


def test_one_request_too_few_holds() -> None:
    verdict = judged(figures(199), STABLE)
    assert (verdict.outcome, verdict.reason) == ("hold", "199 of 200 requests")


def test_errors_are_surely_more_or_not_sure_yet_or_few_enough() -> None:
    assert judged(figures(400, errors=1), STABLE).outcome == "advance"
    unsure = judged(figures(200, errors=3), STABLE)
    assert (unsure.outcome, unsure.reason) == ("hold", "not sure yet: error ratio: 1.5% against 0.0%")
    sure = judged(figures(200, errors=20), STABLE)
    assert (sure.outcome, sure.reason) == ("rollback", "error ratio: 10.0% against 0.0%")


def test_a_broken_canary_goes_without_waiting_for_enough_requests() -> None:
    assert judged(figures(5, errors=5), figures(100)).outcome == "rollback"
    assert judged(figures(20, errors=20), figures(20), percent=50).outcome == "rollback"


@pytest.mark.parametrize("stable", [None, RevisionFigures()])
def test_with_nothing_to_compare_five_errors_are_enough(stable: RevisionFigures | None) -> None:
    assert judged(figures(4, errors=4), stable).outcome == "hold"
    assert judged(figures(5, errors=5), stable).outcome == "rollback"


def test_errors_that_stable_makes_too_are_not_the_canarys() -> None:
    assert judged(figures(200, errors=20), figures(4000, errors=400)).outcome == "advance"


def test_a_slow_canary_rolls_back() -> None:
    verdict = judged(figures(200, fast=False), STABLE)
    assert verdict.outcome == "rollback"
    assert verdict.reason == "slower than 20 ms: 100.0% against 0.0%"
    assert verdict.figures["canary_p99_ms"] == pytest.approx(497)


def test_a_slow_canary_beside_a_slow_stable_advances() -> None:
    assert judged(figures(200, fast=False), figures(4000, anomalies=200, fast=False)).outcome == "advance"


def test_latency_that_the_gate_allows_is_no_fault() -> None:
    assert judge(SPEC, 1000.0, figures(200, fast=False), STABLE).outcome == "advance"


def test_one_slow_request_in_a_hundred_is_no_fault() -> None:
    latency = (0, 0, 198, *[0] * 9, 2)
    assert judged(figures(200).model_copy(update={"latency": latency}), STABLE).outcome != "rollback"


def test_a_doubled_tail_is_caught_though_it_lies_between_two_bounds() -> None:
    """A p99 of 40 ms that becomes 80: of ten times as many requests, more than 50 ms."""
    stable = figures(38_000).model_copy(update={"latency": (0, 0, 0, 24_000, 10_500, 3_350, 150)})
    canary = figures(2_000).model_copy(update={"latency": (0, 0, 0, 400, 860, 640, 90, 10)})
    assert judged(canary, stable).outcome == "rollback"


def test_a_canary_that_flags_much_more_rolls_back() -> None:
    verdict = judged(figures(200, anomalies=80), STABLE)
    assert (verdict.outcome, verdict.reason) == ("rollback", "anomaly rate: 40.0% against 5.0%")


def test_a_canary_that_flags_less_is_no_worse() -> None:
    """A stable revision that drift has made blind to normal rows flags them all; its successor does not."""
    assert judged(figures(200), figures(4000, anomalies=4000)).outcome == "advance"


def test_scores_that_rose_as_a_whole_roll_back_without_one_more_alarm() -> None:
    canary = figures(300).model_copy(update={"scores": (*[0] * 9, 300)})
    verdict = judged(canary, figures(5000))
    assert (verdict.outcome, verdict.reason.partition(":")[0]) == (
        "rollback",
        "scores above 0.5 of the threshold",
    )
    assert judged(canary, figures(5000), CanarySpec(max_score_shift=1)).outcome == "advance"


def test_scores_of_another_algorithm_are_compared_from_the_threshold_on() -> None:
    """Below it each algorithm has a scale of its own; what is above it is an alarm in every one."""
    lower = figures(300).model_copy(update={"scores": (*[0] * 9, 300)})
    assert judged(lower, figures(5000), alike=False).outcome == "advance"
    far_above = figures(300).model_copy(update={"scores": (*[0] * 13, 300)})
    assert judged(far_above, figures(5000), alike=False).outcome == "rollback"


def test_many_rows_in_few_requests_are_little_evidence() -> None:
    rows = {"rows": 40_000, "anomalies": 16_000, "scores": (40_000,)}
    few = figures(20).model_copy(update=rows)
    stable = figures(20).model_copy(update={"rows": 40_000, "anomalies": 4_000, "scores": (40_000,)})
    assert judged(few, stable, percent=50).outcome == "hold"


WITHOUT_ROWS = {"rows": 0, "anomalies": 0}
WITHOUT_LATENCY = {"latency": ()}
WITHOUT_SCORES = {"scores": ()}


@pytest.mark.parametrize("missing", [WITHOUT_ROWS, WITHOUT_LATENCY, WITHOUT_SCORES])
@pytest.mark.parametrize("side", ["canary", "stable"])
def test_a_missing_figure_on_either_side_holds(missing: dict[str, object], side: str) -> None:
    sides = {"canary": figures(200), "stable": STABLE}
    sides[side] = sides[side].model_copy(update=missing)
    verdict = judged(sides["canary"], sides["stable"])
    assert verdict.outcome == "hold"
    assert verdict.reason.startswith("could not be measured: " + side)


@pytest.mark.parametrize("missing", [WITHOUT_ROWS, WITHOUT_LATENCY])
def test_a_missing_figure_of_the_first_revision_holds(missing: dict[str, object]) -> None:
    assert judged(figures(200).model_copy(update=missing), None).outcome == "hold"


def test_a_stable_revision_without_traffic_is_nothing_to_compare_with() -> None:
    assert judged(figures(200), RevisionFigures()).outcome == "hold"


def test_the_first_revision_advances_on_serving_without_errors() -> None:
    verdict = judged(figures(200), None)
    assert (verdict.outcome, verdict.reason) == ("advance", "serves without errors")


def test_the_verdict_tells_every_figure() -> None:
    verdict = judged(figures(200, anomalies=10), STABLE)
    told = verdict.figures
    assert told["canary_requests"] == verdict.requests == 200
    assert (told["canary_error_ratio"], told["canary_anomaly_rate"]) == (0, 0.05)
    assert (told["stable_error_ratio"], told["stable_anomaly_rate"]) == (0, 0.05)
    assert told["canary_p99_ms"] == told["stable_p99_ms"] == pytest.approx(4.97)
    kinds = [one.name.split()[0] for one in verdict.comparisons]
    assert kinds == ["error", "slower", "anomaly", "scores"]
    for one in verdict.comparisons:
        assert one.low is not None
        assert one.high is not None
        assert one.low <= 0 <= one.high


def test_the_same_verdict_in_other_numbers_is_not_told_again() -> None:
    one, other = judged(figures(10), STABLE), judged(figures(120), STABLE)
    assert words(one.outcome, one.reason) == words(other.outcome, other.reason)
    assert words("advance", one.reason) != words("hold", one.reason)


# --- labels ------------------------------------------------------------------------------------------------
BY_LABELS = CanarySpec(judge_by="labels")


def labelled(caught: int = 0, missed: int = 0, false_alarms: int = 0, passed: int = 0) -> Quality:
    return Quality(caught=caught, missed=missed, false_alarms=false_alarms, passed=passed, measured=NOON)


def by_labels(canary: Quality | None, stable: Quality | None, seen: RevisionFigures) -> Verdict:
    trial = Trial(BY_LABELS, 20.0, seen, STABLE, 5)
    return judge_by_labels(trial, judged(seen, STABLE, BY_LABELS), canary, stable)


GOOD = labelled(caught=900, missed=100, false_alarms=50, passed=9000)


@pytest.mark.parametrize("canary", [None, labelled(caught=10, passed=100)])
def test_too_few_labels_hold(canary: Quality | None) -> None:
    verdict = by_labels(canary, GOOD, figures(200))
    assert verdict.outcome == "hold"
    assert "of 200 labelled rows" in verdict.reason


def test_a_canary_as_good_by_its_labels_advances_whatever_it_flags() -> None:
    assert by_labels(GOOD, GOOD, figures(200, anomalies=150)).outcome == "advance"


def test_a_canary_that_misses_much_more_is_rolled_back() -> None:
    blind = labelled(caught=300, missed=1700, passed=9000)
    verdict = by_labels(blind, GOOD, figures(200))
    assert verdict.outcome == "rollback"
    assert verdict.reason.startswith("missed of anomalous rows: 85.0% against 10.0%")


def test_a_canary_whose_alarms_are_false_is_rolled_back() -> None:
    verdict = by_labels(labelled(caught=900, missed=100, false_alarms=2000), GOOD, figures(200))
    assert verdict.outcome == "rollback"
    assert verdict.reason.startswith("false of flagged rows")


def test_labels_without_one_anomalous_row_say_nothing_of_recall() -> None:
    verdict = by_labels(labelled(passed=1000), GOOD, figures(200))
    assert (verdict.outcome, verdict.reason.partition(":")[0]) == ("hold", "could not be measured")


def test_errors_need_no_labels() -> None:
    assert by_labels(None, None, figures(200, errors=100)).outcome == "rollback"


# --- whatever was counted ----------------------------------------------------------------------------------
COUNTS = st.integers(0, 50)
FIGURES = st.builds(
    lambda requests, errors, rows, anomalies, latency, scores: RevisionFigures(
        requests=requests,
        errors=min(errors, requests),
        rows=rows,
        anomalies=min(anomalies, rows),
        latency=latency,
        scores=scores,
    ),
    COUNTS,
    COUNTS,
    COUNTS,
    COUNTS,
    st.lists(COUNTS, max_size=13).map(tuple),
    st.lists(COUNTS, max_size=18).map(tuple),
)


@given(FIGURES, st.none() | FIGURES, st.integers(1, 60))
def test_a_canary_never_advances_below_its_minimum_nor_on_a_missing_figure(
    canary: RevisionFigures, stable: RevisionFigures | None, least: int
) -> None:
    verdict = judged(canary, stable, CanarySpec(min_requests=least))
    if verdict.outcome == "advance":
        assert canary.requests >= least
        assert all(value is not None for name, value in verdict.figures.items() if "canary" in name or stable)
        assert all(one.outcome != "worse" and one.low is not None for one in verdict.comparisons)


@given(FIGURES, st.none() | FIGURES, st.integers(0, 50), st.integers(1, 99))
def test_more_errors_never_turn_a_rollback_into_anything_better(
    canary: RevisionFigures, stable: RevisionFigures | None, more: int, percent: int
) -> None:
    spec = CanarySpec(min_requests=10)
    worse = canary.model_copy(update={"errors": min(canary.errors + more, canary.requests)})
    if judged(canary, stable, spec, percent=percent).outcome == "rollback":
        assert judged(worse, stable, spec, percent=percent).outcome == "rollback"
