"""The canary's figures: a missing one is inconclusive, a broken canary goes at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.functions.canary import LATENCY_BUCKETS_MS, Verdict, increment, judge, quantile
from homeostat.functions.detector import RevisionFigures
from homeostat.functions.spec import CanarySpec
from tests.functions.detectors import figures

SPEC = CanarySpec()


def judged(canary: RevisionFigures, stable: RevisionFigures | None) -> Verdict:
    return judge(SPEC, 20.0, canary, stable)


STABLE = figures(4000, anomalies=200)


def test_no_worse_than_stable_advances() -> None:
    assert judged(figures(200, anomalies=10), STABLE).outcome == "advance"


def test_no_traffic_holds() -> None:
    assert judged(RevisionFigures(), STABLE).outcome == "hold"
    assert judged(RevisionFigures(), None).outcome == "hold"


def test_one_request_too_few_holds() -> None:
    verdict = judged(figures(199), STABLE)
    assert (verdict.outcome, verdict.reason) == ("hold", "199 of 200 requests")


def test_errors_roll_back_on_enough_requests() -> None:
    assert judged(figures(200, errors=2), STABLE).outcome == "advance"
    verdict = judged(figures(200, errors=3), STABLE)
    assert (verdict.outcome, verdict.reason) == ("rollback", "error ratio 1.5% against 0.0%")


def test_five_errors_roll_back_without_waiting_for_enough_requests() -> None:
    assert judged(figures(4, errors=4), STABLE).outcome == "hold"
    assert judged(figures(5, errors=5), STABLE).outcome == "rollback"
    assert judged(figures(5, errors=5), None).outcome == "rollback"


def test_errors_that_stable_makes_too_are_not_the_canarys() -> None:
    assert judged(figures(200, errors=20), figures(4000, errors=400)).outcome == "advance"


def test_a_slow_canary_rolls_back() -> None:
    verdict = judged(figures(200, fast=False), STABLE)
    assert verdict.outcome == "rollback"
    assert verdict.reason.startswith("p99 497 ms against")


def test_a_slow_canary_beside_a_slow_stable_advances() -> None:
    assert judged(figures(200, fast=False), figures(4000, fast=False)).outcome == "advance"


def test_latency_that_the_gate_allows_is_no_fault() -> None:
    slow = judge(SPEC, 1000.0, figures(200, fast=False), STABLE)
    assert slow.outcome == "advance"


def test_a_canary_that_flags_much_more_rolls_back() -> None:
    assert judged(figures(200, anomalies=50), STABLE).outcome == "advance"
    verdict = judged(figures(200, anomalies=52), STABLE)
    assert (verdict.outcome, verdict.reason) == ("rollback", "anomaly rate 26.0% against 5.0%")


WITHOUT_ROWS = {"rows": 0, "anomalies": 0}
WITHOUT_LATENCY = {"latency": ()}


@pytest.mark.parametrize("missing", [WITHOUT_ROWS, WITHOUT_LATENCY])
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
    told = judged(figures(200, anomalies=10), STABLE).figures
    assert told["canary_requests"] == 200
    assert (told["canary_error_ratio"], told["canary_anomaly_rate"]) == (0, 0.05)
    assert (told["stable_error_ratio"], told["stable_anomaly_rate"]) == (0, 0.05)
    assert told["canary_p99_ms"] == told["stable_p99_ms"] == pytest.approx(4.97)


# --- increments --------------------------------------------------------------------------------------------
def test_an_increment_is_what_was_gained() -> None:
    gained = increment(figures(300, errors=7, anomalies=20), figures(100, errors=2, anomalies=5))
    assert gained == figures(200, errors=5, anomalies=15)


def test_counters_that_fell_count_from_zero() -> None:
    assert increment(figures(30, errors=1), figures(100, errors=2)) == figures(30, errors=1)


def test_a_restarted_model_server_resets_rows_and_anomalies_together() -> None:
    """Counted one by one, 120 rows after 100 would read as 20, and 8 anomalies of them as 40 %."""
    base = RevisionFigures(requests=50, rows=100, anomalies=10)
    gained = increment(RevisionFigures(requests=80, rows=120, anomalies=8), base)
    assert (gained.rows, gained.anomalies) == (120, 8)
    assert gained.requests == 30


def test_more_buckets_than_before_are_no_reset() -> None:
    base = RevisionFigures(requests=2, latency=(2,))
    assert increment(RevisionFigures(requests=3, latency=(2, 1)), base).latency == (0, 1)


COUNTS = st.integers(0, 50)
FIGURES = st.builds(
    lambda requests, errors, rows, anomalies, latency: RevisionFigures(
        requests=requests,
        errors=min(errors, requests),
        rows=rows,
        anomalies=min(anomalies, rows),
        latency=latency,
    ),
    COUNTS,
    COUNTS,
    COUNTS,
    COUNTS,
    st.lists(COUNTS, max_size=13).map(tuple),
)


@given(FIGURES, FIGURES)
def test_increments_are_never_negative_nor_more_than_the_counter(
    now: RevisionFigures, base: RevisionFigures
) -> None:
    gained = increment(now, base)
    for name in ("requests", "errors", "rows", "anomalies"):
        assert 0 <= getattr(gained, name) <= getattr(now, name)
    assert all(gain >= 0 for gain in gained.latency)
    assert sum(gained.latency) <= sum(now.latency)


@given(FIGURES)
def test_from_nothing_the_increment_is_the_counter(now: RevisionFigures) -> None:
    assert increment(now, RevisionFigures()) == now


# --- quantiles ---------------------------------------------------------------------------------------------
def test_a_quantile_is_linear_within_its_bucket() -> None:
    assert quantile((0, 0, 100), 0.5) == pytest.approx(3.5)
    assert quantile((100,), 0.99) == pytest.approx(0.99)


def test_nothing_counted_has_no_quantile() -> None:
    assert quantile((), 0.99) is None
    assert quantile((0,) * 13, 0.99) is None


def test_beyond_the_last_bound_the_bound_is_the_answer() -> None:
    assert quantile((*[0] * 12, 5), 0.5) == LATENCY_BUCKETS_MS[-1]


@given(st.lists(COUNTS, min_size=1, max_size=13), st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_that_its_rank_falls_into(counts: list[int], q: float) -> None:
    value = quantile(counts, q)
    if value is None:
        assert sum(counts) == 0
        return
    bounds = (0, *LATENCY_BUCKETS_MS, float("inf"))
    below = sum(count for count, low in zip(counts, bounds, strict=False) if low < value)
    under = sum(count for count, high in zip(counts, bounds[1:], strict=False) if high <= value)
    rank = q * sum(counts)
    assert under <= rank + 1e-9
    assert below >= rank - 1e-9 or value == LATENCY_BUCKETS_MS[-1]


@given(st.lists(COUNTS, min_size=1, max_size=13), st.floats(0.01, 1), st.floats(0.01, 1))
def test_quantiles_rise(counts: list[int], one: float, other: float) -> None:
    low, high = quantile(counts, min(one, other)), quantile(counts, max(one, other))
    assert (low is None and high is None) or (low is not None and high is not None and low <= high + 1e-9)


@given(FIGURES, st.none() | FIGURES, st.integers(1, 60))
def test_a_canary_never_advances_below_its_minimum_of_requests(
    canary: RevisionFigures, stable: RevisionFigures | None, least: int
) -> None:
    verdict = judge(CanarySpec(min_requests=least), 20.0, canary, stable)
    if verdict.outcome == "advance":
        assert canary.requests >= least
        assert all(value is not None for name, value in verdict.figures.items() if "canary" in name or stable)


@given(FIGURES, st.none() | FIGURES, st.integers(0, 50))
def test_more_errors_never_turn_a_rollback_into_anything_better(
    canary: RevisionFigures, stable: RevisionFigures | None, more: int
) -> None:
    spec = CanarySpec(min_requests=10)
    worse = canary.model_copy(update={"errors": min(canary.errors + more, canary.requests)})
    if judge(spec, 20.0, canary, stable).outcome == "rollback":
        assert judge(spec, 20.0, worse, stable).outcome == "rollback"
