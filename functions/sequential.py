"""Two shares compared, as often as anybody looks: bounds of their difference that hold at every look at once.

A canary is looked at every few seconds, and a usual test that is repeated finds something in the end. These
bounds come from bets (test supermartingales): while the canary's rate is at most `d` above the stable one, m,
with b the bet on a hit of the canary and c that on a miss of the stable revision,

    E(m) = exp(b hits_c - n_c log(1 + (m + d)(e^b - 1)) - c hits_s - n_s log(1 - m (1 - e^-c)))

has a mean of at most 1, and so has its smallest value over all m. By Ville's inequality it ever exceeds
1 / error with a probability of at most `error`. Thirteen bets are tried together, each with its part of it.
Nothing is drawn and nothing is remembered: cumulative counts are enough, whenever they are read. Rates may
change from request to request as long as both sides' do alike: the logarithm is concave, so the bounds hold
for the mean of the rates, and a burst that comes to both sides is no evidence.

Ville (1939); Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform Chernoff bounds" (2020) and "Time-uniform,
nonparametric, nonasymptotic confidence sequences" (2021); Turner, Ly, Grünwald, "Generic E-variables for
exact sequential k-sample tests" (2024); Waudby-Smith, Ramdas, "Estimating means of bounded random variables
by betting" (2024).
"""

from __future__ import annotations

from functools import cache
from math import exp, expm1, log, log1p
from typing import NamedTuple

ODDS = tuple(expm1(6.4 / 1.6**step) for step in range(13))
"""How far the odds are raised by a bet, less 1: from "every one fails" to 2 %, dense enough that the best bet
is never far."""


class Share(NamedTuple):
    """So many `hits` in `trials`. Both may be fractions: any counts whose unit's mean lies in [0, 1]."""

    hits: float
    trials: float

    @property
    def ratio(self) -> float | None:
        """None of nothing."""
        return self.hits / self.trials if self.trials else None


def difference(
    canary: Share, stable: Share, error: float, balance: float = 1.0, around: float = 0.05
) -> tuple[float, float]:
    """Between which bounds the rate of `canary` less that of `stable` lies, each bound being wrong at any
    look with a probability of at most `error`.

    `balance` is the number of the canary's trials for each of the stable revision's, and `around` a guess of
    the rate, both as they were expected beforehand: the bounds always hold, and are tightest where they are
    right.
    """
    low = at_least(canary, stable, error, balance, around)
    return low, -at_least(stable, canary, error, 1 / balance, around)


def at_least(one: Share, other: Share, error: float, balance: float = 1.0, around: float = 0.05) -> float:
    """The lower bound of the rate of `one` less that of `other`, between -1 and 1."""
    if not one.trials or not other.trials:
        return -1.0
    wealth = log(len(ODDS) / error)
    found = max(_bound(one, other, bets, wealth) for bets in _bets(balance, around))
    return min(max(found, -1.0), 1.0)


class Bets(NamedTuple):
    """The logarithms of what is bet on a hit of the one and on a miss of the other, and what a sure one
    gains, and a sure other one loses."""

    hit: float
    miss: float
    gain: float
    loss: float


@cache
def _bets(balance: float, around: float) -> tuple[Bets, ...]:
    """Such that at the rate `around` neither side's bets gain by another rate of both: then nearly nothing is
    lost by taking the worst of all rates."""
    found = []
    for odds in ODDS:
        slope = odds / (1 + around * odds)
        mine, theirs = slope * min(1.0, 1 / balance), slope * min(1.0, balance)
        gain, loss = mine / (1 - around * mine), min(theirs / (1 + around * theirs), 0.998)
        found.append(Bets(log1p(gain), -log1p(-loss), gain, loss))
    return tuple(found)


def _bound(one: Share, other: Share, bets: Bets, wealth: float) -> float:
    """The largest difference at which these bets have made e^wealth, whatever the rate `m` of `other` is.

    The logarithm of what they made is convex in m, so its least value is where its slope is none, and where
    that is no rate, at the nearest rate. Either way the difference follows in closed form.
    """
    (hits, trials), (their_hits, their_trials) = one, other
    bet, against, gain, loss = bets
    made = bet * hits - against * their_hits - wealth
    both = trials + their_trials
    spread = made - trials * log(trials / (both * loss)) - their_trials * log(their_trials / (both * gain))
    if spread > 700 * both:
        return 1.0
    least = exp(spread / both)
    found = (least - gain - loss) / (gain * loss)
    theirs = (1 - their_trials * least / (both * gain)) / loss
    mine = (trials * least / (both * loss) - 1) / gain
    if theirs < 0 or mine < 0:
        return expm1(made / trials) / gain if made > 0 else expm1(made / their_trials) / loss
    if theirs > 1 or mine > 1:
        if made >= bet * trials - against * their_trials:
            return 1 + expm1((made - bet * trials) / their_trials) / loss
        return expm1((made + against * their_trials) / trials) / gain - 1
    return found
