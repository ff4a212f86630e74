"""Bounds that hold at every look: what they promise, against brute force and against chance."""

from __future__ import annotations

from math import expm1, log, log1p
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from homeostat.functions.sequential import ODDS, Share, at_least, difference

COUNTS = st.tuples(st.integers(1, 400), st.floats(0, 1)).map(
    lambda one: Share(round(one[0] * one[1]), one[0])
)
ERRORS = st.sampled_from([0.2, 0.01, 1e-4])
BALANCES = st.sampled_from([0.01, 0.05, 1.0, 3.0, 20.0])


@given(COUNTS, COUNTS, ERRORS, BALANCES)
def test_what_was_seen_lies_between_the_bounds(
    one: Share, other: Share, error: float, balance: float
) -> None:
    low, high = difference(one, other, error, balance)
    assert one.ratio is not None
    assert other.ratio is not None
    assert -1 <= low <= one.ratio - other.ratio <= high <= 1


@given(COUNTS, COUNTS, ERRORS, BALANCES)
def test_both_sides_see_the_same_bounds(one: Share, other: Share, error: float, balance: float) -> None:
    low, high = difference(one, other, error, balance)
    assert difference(other, one, error, 1 / balance) == pytest.approx((-high, -low))


@given(COUNTS, COUNTS, BALANCES)
def test_more_of_the_same_makes_the_bounds_no_wider(one: Share, other: Share, balance: float) -> None:
    low, high = difference(one, other, 0.01, balance)
    more, others = (Share(3 * side.hits, 3 * side.trials) for side in (one, other))
    lower, higher = difference(more, others, 0.01, balance)
    assert low - 1e-9 <= lower
    assert higher <= high + 1e-9


@given(COUNTS, COUNTS, ERRORS, ERRORS)
def test_to_be_surer_is_to_know_less(one: Share, other: Share, error: float, smaller: float) -> None:
    assume(smaller < error)
    assert at_least(one, other, smaller) <= at_least(one, other, error)


def test_nothing_counted_says_nothing() -> None:
    assert difference(Share(0, 0), Share(5, 100), 0.01) == (-1, 1)
    assert difference(Share(5, 100), Share(0, 0), 0.01) == (-1, 1)


@given(COUNTS, COUNTS, st.floats(0.01, 0.99))
def test_no_rate_of_the_stable_side_explains_what_lies_below_the_bound(
    one: Share, other: Share, rate: float
) -> None:
    """Some bet made 13 / error at the bound, whatever the stable rate is: the definition, by brute force."""
    error, balance, around = 0.01, 1.0, 0.05
    low = at_least(one, other, error, balance, around)
    assume(low > -1 and 0 <= rate + low <= 1)
    made = [_made(one, other, odds, rate, low) for odds in ODDS]
    assert max(made) >= log(len(ODDS) / error) - 1e-6


def _made(one: Share, other: Share, odds: float, rate: float, difference: float) -> float:
    """The logarithm of what the bets on even sides around 5 % made, as the module's docstring has it."""
    slope = odds / (1 + 0.05 * odds)
    bet, against = log1p(slope / (1 - 0.05 * slope)), -log1p(-min(slope / (1 + 0.05 * slope), 0.998))
    return (
        bet * one.hits
        - one.trials * log1p((rate + difference) * expm1(bet))
        - against * other.hits
        - other.trials * log1p(rate * expm1(-against))
    )


@pytest.mark.parametrize("percent", [5, 50])
def test_looked_at_after_every_request_the_bound_is_seldom_wrong(percent: int) -> None:
    """Of 120 pairs of equal rates, at most 5 % may ever look different at an error of 5 %; more than 14 would
    come from a true 5 % once in a thousand times. A usual test, so often repeated, fails on a third."""
    chance = Random(7)
    assert sum(_ever_wrong(chance, percent, 0.05) for _ in range(120)) <= 14


def _ever_wrong(chance: Random, percent: int, error: float) -> bool:
    hits, trials = [0, 0], [0, 0]
    for _ in range(400):
        side = chance.randrange(100) < percent
        trials[side] += 1
        hits[side] += chance.random() < 0.1
        low = at_least(Share(hits[1], trials[1]), Share(hits[0], trials[0]), error, percent / (100 - percent))
        if low > 0:
            return True
    return False


def test_it_is_tight_enough_to_be_of_use() -> None:
    """Two points more errors are sure within two thousand requests of a twentieth of the traffic, which is
    four standard errors: a test made once would need three."""
    found = at_least(Share(40, 1600), Share(150, 30_000), 0.001, 0.05, 0.01)
    assert found == pytest.approx(0.0055, abs=0.001)
