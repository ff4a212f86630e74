"""What was counted during a step, and what its histograms say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.functions.canary import LATENCY_BUCKETS_MS, increment, quantile, slower
from homeostat.functions.detector import RevisionFigures
from tests.functions.detectors import figures


# --- increments --------------------------------------------------------------------------------------------
def test_an_increment_is_what_was_gained() -> None:
    gained = increment(figures(300, errors=7, anomalies=20), figures(100, errors=2, anomalies=5))
    assert gained == figures(200, errors=5, anomalies=15)


def test_counters_that_fell_count_from_zero() -> None:
    assert increment(figures(30, errors=1), figures(100, errors=2)) == figures(30, errors=1)


def test_a_restarted_model_server_resets_rows_and_anomalies_together() -> None:
    """Counted one by one, 120 rows after 100 would read as 20, and 8 anomalies of them as 40 %."""
    base = RevisionFigures(requests=50, rows=100, anomalies=10, scores=(90, 10))
    gained = increment(RevisionFigures(requests=80, rows=120, anomalies=8, scores=(112, 8)), base)
    assert (gained.rows, gained.anomalies, gained.scores) == (120, 8, (112, 8))
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


# --- tails -------------------------------------------------------------------------------------------------
def test_slower_than_a_bound_is_what_was_counted_above_it() -> None:
    counts = (0, 0, 0, 900, 90, 10)
    assert slower(counts, 10) == pytest.approx(0.1, abs=0.001)
    assert slower(counts, 20) == pytest.approx(0.01, abs=0.001)


@given(st.lists(COUNTS, max_size=13), st.floats(0.1, 9000), st.floats(0.1, 9000))
def test_fewer_are_slower_than_a_longer_time(counts: list[int], one: float, other: float) -> None:
    shorter, longer = slower(counts, min(one, other)), slower(counts, max(one, other))
    assert 1 >= shorter >= longer - 1e-9
    assert longer > 0
