"""Figures of labelled rows lie between bounds that keep their promise, and fall only when they surely did."""

from __future__ import annotations

from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, chi2, poisson

from homeostat.functions.detector import Quality
from homeostat.functions.quality import Estimate, differences, estimates, fallen, rate, share, told
from homeostat.functions.spec import QualitySpec
from tests.functions.detectors import NOON

COUNTS = st.integers(0, 2000)


def quality(
    caught: int = 0, missed: int = 0, false_alarms: int = 0, passed: int = 0, events: int = 0, days: float = 0
) -> Quality:
    return Quality(
        caught=caught,
        missed=missed,
        false_alarms=false_alarms,
        passed=passed,
        false_events=events,
        days=days,
        measured=NOON,
    )


def test_wilsons_interval_is_the_published_one() -> None:
    """81 of 263: Newcombe (1998), Statistics in Medicine 17, 857-872, table I."""
    found = share(81, 263)
    assert found is not None
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    assert share(0, 20) == Estimate(0.0, 0.0, share(0, 20).high)  # type: ignore[union-attr]
    assert share(20, 20).high == 1.0  # type: ignore[union-attr]


def test_differences_of_shares_are_newcombes() -> None:
    """56 of 70 less 48 of 80: Newcombe (1998), Statistics in Medicine 17, 873-890, table II, method 10."""
    one, other = share(56, 70), share(48, 80)
    assert one is not None
    assert other is not None
    found = one.less(other)
    assert (round(found.low, 4), round(found.high, 4)) == (0.0524, 0.3339)


@pytest.mark.parametrize("events", [0, 1, 2, 7, 100, 500, 501, 5000])
def test_rates_lie_between_garwoods_exact_bounds(events: int) -> None:
    found = rate(events, 2.0)
    assert found is not None
    low = chi2.ppf(0.025, 2 * events) / 4 if events else 0.0
    assert isclose(found.low, low, rel_tol=1e-5, abs_tol=1e-12)
    assert isclose(found.high, chi2.ppf(0.975, 2 * events + 2) / 4, rel_tol=1e-5)


def test_nothing_is_known_of_nothing() -> None:
    assert set(estimates(quality()).values()) == {None}
    assert set(told(quality()).values()) == {None}


@given(part=COUNTS, more=COUNTS)
def test_bounds_hold_the_value_and_narrow_with_more_rows(part: int, more: int) -> None:
    few, many = share(part, part + more), share(10 * part, 10 * (part + more))
    if few is None or many is None:
        return
    assert 0 <= few.low <= few.value <= few.high <= 1
    assert many.high - many.low < few.high - few.low


@given(a=COUNTS, b=COUNTS, c=COUNTS, d=COUNTS)
def test_a_difference_turned_round_is_its_own_negative(a: int, b: int, c: int, d: int) -> None:
    one, other = quality(caught=a, missed=b), quality(caught=c, missed=d)
    there, back = differences(one, other)["recall"], differences(other, one)["recall"]
    if there is None or back is None:
        return
    assert isclose(there.low, -back.high, abs_tol=1e-12)
    assert there.low <= there.value <= there.high


def test_the_bounds_cover_the_truth_as_often_as_they_say() -> None:
    """Exact coverage, summed over every outcome; Wilson's is 95 % on average, Garwood's at least that."""
    ps, n = [0.05 + 0.9 * i / 60 for i in range(61)], 40
    covers = [
        sum(binom.pmf(k, n, p) for k in range(n + 1) if (one := share(k, n)) and one.low <= p <= one.high)
        for p in ps
    ]
    assert 0.94 <= sum(covers) / len(covers) <= 0.97
    assert min(covers) > 0.9
    for mean in (0.5, 3.0, 12.0):
        outcomes = [(k, rate(k, 1.0)) for k in range(60)]
        covered = sum(poisson.pmf(k, mean) for k, one in outcomes if one and one.low <= mean <= one.high)
        assert covered >= 0.95


# --- what is asked -----------------------------------------------------------------------------------------
ASKED = QualitySpec(min_precision=0.5, min_recall=0.8, max_false_alarms_per_day=2, min_labels=50)


def test_only_what_has_surely_fallen_has_fallen() -> None:
    poor = quality(caught=20, missed=40, false_alarms=10, passed=800, events=30, days=3)
    assert fallen(poor, ASKED) == {"precision": False, "recall": True, "false_alarms_per_day": True}


def test_what_is_not_sure_changes_nothing() -> None:
    unsure = quality(caught=38, missed=12, false_alarms=40, passed=100, events=7, days=3)
    assert fallen(unsure, ASKED) == {}


def test_what_is_not_asked_has_not_fallen() -> None:
    poor = quality(missed=100, false_alarms=100, events=100, days=0.1)
    assert fallen(poor, QualitySpec()) == dict.fromkeys(estimates(poor), False)


def test_too_few_labels_say_nothing() -> None:
    assert fallen(quality(missed=49), ASKED) == {}
    assert fallen(quality(missed=50), ASKED) == {"recall": True}


@given(a=COUNTS, b=COUNTS, c=COUNTS, d=COUNTS, events=st.integers(0, 300), days=st.floats(0.01, 100))
def test_more_of_the_same_only_makes_it_surer(
    a: int, b: int, c: int, d: int, events: int, days: float
) -> None:
    once = fallen(quality(a, b, c, d, events, days), ASKED)
    many = fallen(quality(9 * a, 9 * b, 9 * c, 9 * d, 9 * events, 9 * days), ASKED)
    assert many.items() >= once.items()
