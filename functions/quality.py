"""How good a revision is, as far as labels tell, and how sure that is. Pure arithmetic.

Rows are counted one by one: precision and recall are shares of rows, between Wilson's bounds. False alarms
are counted by stretches, whose rate per day lies between Garwood's exact Poisson bounds. Both take what they
count as independent. Rows of one fault are not: few faults with many rows each look surer than they are.

Wilson (1927), J. Am. Stat. Assoc. 22, 209-212. Garwood (1936), Biometrika 28, 437-442. Differences: Zou and
Donner (2008), Statistics in Medicine 27, 1693-1702, which for shares is Newcombe's method 10.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from math import exp, inf, lgamma, log, sqrt
from statistics import NormalDist

from .detector import Quality
from .spec import QualitySpec

Z = NormalDist().inv_cdf(0.975)
"""All intervals are two-sided, at 95 %."""
TAIL = 0.025
EXACT_UP_TO = 500
"""Of more events than this the bounds are Byar's, which differ by less than a thousandth."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What was measured, and between which bounds the truth lies."""

    value: float
    low: float
    high: float

    def less(self, other: Estimate) -> Estimate:
        """The difference to another, independent one."""
        value = self.value - other.value
        return Estimate(
            value,
            value - sqrt((self.value - self.low) ** 2 + (other.high - other.value) ** 2),
            value + sqrt((self.high - self.value) ** 2 + (other.value - other.low) ** 2),
        )


def share(part: int, whole: int) -> Estimate | None:
    """Wilson's interval of a proportion; None of nothing."""
    if not whole:
        return None
    p, square = part / whole, Z * Z
    centre = (p + square / (2 * whole)) / (1 + square / whole)
    half = Z * sqrt(p * (1 - p) / whole + square / (4 * whole * whole)) / (1 + square / whole)
    # Of all and of none the bound is the share itself, which rounding would miss.
    return Estimate(
        p, 0.0 if part == 0 else max(0.0, centre - half), 1.0 if part == whole else min(1.0, centre + half)
    )


def rate(events: int, days: float) -> Estimate | None:
    """Garwood's interval of events per day; None of no time."""
    if not days:
        return None
    low, high = _poisson(events)
    return Estimate(events / days, low / days, high / days)


@cache
def _poisson(events: int) -> tuple[float, float]:
    """The means at which so many events or more, or so many or fewer, have a chance of 2.5 %."""
    if events > EXACT_UP_TO:
        return _byar(events, -Z), _byar(events + 1, Z)
    low = 0.0 if events == 0 else _mean_where(lambda mean: 1 - _at_most(events - 1, mean), TAIL, events)
    return low, _mean_where(lambda mean: 1 - _at_most(events, mean), 1 - TAIL, events)


def _byar(events: int, z: float) -> float:
    return events * (1 - 1 / (9 * events) + z / (3 * sqrt(events))) ** 3


def _at_most(events: int, mean: float) -> float:
    return sum(exp(-mean + k * log(mean) - lgamma(k + 1)) for k in range(events + 1))


def _mean_where(chance: Callable[[float], float], wanted: float, events: int) -> float:
    """`chance` rises with the mean; found by halving."""
    low, high = 0.0, events + 10 * sqrt(events + 1) + 10
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if chance(middle) < wanted else (low, middle)
    return high


# --- of a revision -----------------------------------------------------------------------------------------
def estimates(found: Quality) -> dict[str, Estimate | None]:
    """The figures by name; None where no label says anything of one."""
    return {
        "precision": share(found.caught, found.caught + found.false_alarms),
        "recall": share(found.caught, found.caught + found.missed),
        "false_alarms_per_day": rate(found.false_events, found.days),
    }


def told(found: Quality) -> dict[str, float | None]:
    """The same, flat, as events carry them: each with its `_low` and `_high`."""
    flat: dict[str, float | None] = {}
    for name, one in estimates(found).items():
        bounds = (one.value, one.low, one.high) if one else (None, None, None)
        flat |= dict(zip((name, f"{name}_low", f"{name}_high"), bounds, strict=True))
    return flat


def differences(of: Quality, to: Quality) -> dict[str, Estimate | None]:
    """What `of` has more of than `to`, by figure."""
    ours, theirs = estimates(of), estimates(to)
    return {name: one.less(other) if one and (other := theirs[name]) else None for name, one in ours.items()}


def labelled(found: Quality) -> int:
    """Rows with a label."""
    return found.caught + found.missed + found.false_alarms + found.passed


# --- what is asked of it -----------------------------------------------------------------------------------
def fallen(found: Quality, spec: QualitySpec) -> Mapping[str, bool]:
    """By watched figure: True where it has surely fallen, its whole interval beyond what is asked; False
    where what was measured is as asked, or nothing is. Figures between the two are left out: they change
    nothing."""
    if labelled(found) < spec.min_labels:
        return {}
    known = estimates(found)
    asked = {
        "precision": (spec.min_precision, inf),
        "recall": (spec.min_recall, inf),
        "false_alarms_per_day": (0.0, spec.max_false_alarms_per_day),
    }
    verdicts = {}
    for name, (least, most) in asked.items():
        one = known[name]
        if least is None or most is None:
            verdicts[name] = False
        elif one is None:
            continue
        elif one.high < least or one.low > most:
            verdicts[name] = True
        elif least <= one.value <= most:
            verdicts[name] = False
    return verdicts
