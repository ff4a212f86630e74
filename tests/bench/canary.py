"""Canaries of 20 requests a second, looked at every few requests, judged by ours and by two fixed rules.

Equal models, until they are promoted and held at their first step for long, with and without bursts of
anomalies: how many are rolled back. Worse ones: how many are rolled back before they are promoted, and after
how many requests that the canary answered (`requests`, the median of those that were caught).

The peer is the fixed thresholds that this project had (error ratio +1 point, p99 twice as long and above the
gate's 20 ms, anomaly rate +20 points, from 200 requests on), looked at as often. Beside both stands what
Flagger's documentation gives as its built-in checks (https://docs.flagger.app/usage/metrics: a success rate
of 99 % and a p99 of 500 ms, each over the last minute; rolled back at the fifth failed check). Flagger knows
no anomaly rate, and does not compare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import sqrt
from statistics import median
from typing import Any

import numpy as np

from homeostat.functions.canary import quantile
from homeostat.functions.detector import RevisionFigures
from homeostat.functions.spec import CanarySpec
from homeostat.functions.verdicts import judge
from tests.bench.canary_traffic import Model, Side, bursts

EQUAL = Model()
PEER = "fixed thresholds, looked at as often"
CANARIES, WORSE = 2000, 100
SPEC = CanarySpec()
GATE_MS = 20.0
PER_MINUTE = 1200
"""Requests a minute to both sides together: `every` and Flagger's interval are a minute."""

HELD = 2000
"""So many requests of its own answers a canary that is held at its first step."""


# --- rules -------------------------------------------------------------------------------------------------
Seen = tuple[RevisionFigures, RevisionFigures, RevisionFigures]
"""The step's increments of canary and stable, and those of the canary's last minute (empty within one)."""
Rule = Callable[[CanarySpec, int, Seen], str]


def ours(spec: CanarySpec, percent: int, seen: Seen) -> str:
    canary, stable, _ = seen
    return judge(spec, GATE_MS, canary, stable, percent=percent).outcome


def fixed(spec: CanarySpec, percent: int, seen: Seen) -> str:
    canary, stable, _ = seen
    more_errors = _ratio(canary.errors, canary.requests) - _ratio(stable.errors, stable.requests)
    enough = canary.requests >= spec.min_requests
    if more_errors > 0.01 and (enough or canary.errors >= 5):
        return "rollback"
    if not enough:
        return "hold"
    slow, usual = quantile(canary.latency, 0.99), quantile(stable.latency, 0.99)
    if slow and usual and slow > max(2 * usual, GATE_MS):
        return "rollback"
    more_flags = _ratio(canary.anomalies, canary.rows) - _ratio(stable.anomalies, stable.rows)
    return "rollback" if more_flags > 0.2 else "advance"


def flagger(spec: CanarySpec, percent: int, seen: Seen) -> str:
    """One check a minute; the driver counts those that failed."""
    minute = seen[2]
    if not minute.requests:
        return "hold"
    failed = minute.errors > 0.01 * minute.requests or (quantile(minute.latency, 0.99) or 0) > 500
    return "failed" if failed else "advance"


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


RULES: dict[str, Rule] = {"ours": ours, "fixed": fixed, "flagger": flagger}


# --- a canary ----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Scenario:
    """`every` so many requests to both sides it is looked at; `held`: it never leaves its first step, and is
    watched until the canary answered so many requests. `most` ends what comes to no verdict."""

    name: str
    canary: Model = EQUAL
    spec: CanarySpec = SPEC
    bursts: bool = False
    held: int = 0
    every: int = 100
    canaries: int = CANARIES
    most: int = 20_000


def outcome(scenario: Scenario, rule: str, seed: int) -> tuple[str, int]:
    """How it ends, and how many requests the canary answered until then."""
    chance = np.random.default_rng([seed, 6])
    steps = list(scenario.spec.steps[: 1 if scenario.held else None])
    canary, stable = Side(scenario.canary), Side(EQUAL)
    moments = bursts(chance, scenario.every) if scenario.bursts else iter(lambda: None, 0)
    failed = answered = 0
    for percent in steps:
        begun, waited, minute = (canary.counts.copy(), stable.counts.copy()), 0, canary.counts.copy()
        while True:
            burst, share = next(moments), int(chance.binomial(scenario.every, percent / 100))
            canary.serve(chance, share, burst)
            stable.serve(chance, scenario.every - share, burst)
            waited, answered = waited + scenario.every, answered + share
            whole = waited % PER_MINUTE < scenario.every
            last = canary.since(minute) if whole else RevisionFigures()
            minute = canary.counts.copy() if whole else minute
            seen = (canary.since(begun[0]), stable.since(begun[1]), last)
            verdict = RULES[rule](scenario.spec, percent, seen)
            failed += verdict == "failed"
            if verdict == "rollback" or failed >= 5:
                return "rolled back", answered
            if answered >= (scenario.held or scenario.most):
                return "undecided", answered
            if verdict == "advance" and waited >= PER_MINUTE and not scenario.held:
                break
    return "promoted", answered


SCENARIOS = (
    Scenario("equal"),
    Scenario("equal_held", held=HELD, every=400),
    Scenario("equal_bursts_held", bursts=True, held=HELD, every=400),
    Scenario("errors_2_points_more", Model(errors=0.025), canaries=WORSE),
    Scenario("p99_doubled", Model(stretch=2), canaries=WORSE),
    Scenario("all_latencies_doubled", Model(slowness=2), canaries=WORSE),
    Scenario("anomalies_20_points_more", Model(anomalies=0.25), canaries=WORSE),
    Scenario("anomalies_a_fifth_more", Model(anomalies=0.06), canaries=WORSE),
    Scenario(
        "anomalies_a_fifth_more_none_allowed",
        Model(anomalies=0.06),
        SPEC.model_copy(update={"max_anomaly_increase": 0.0}),
        canaries=WORSE,
        every=2000,
        most=30_000,
    ),
)


def run() -> dict[str, dict[str, Any]]:
    metrics: dict[str, dict[str, Any]] = {}
    with ProcessPoolExecutor(2) as pool:
        for scenario in SCENARIOS:
            ends = {
                rule: list(pool.map(partial(outcome, scenario, rule), range(scenario.canaries), chunksize=50))
                for rule in RULES
            }
            metrics |= _shares(scenario, ends)
    return metrics


def _shares(scenario: Scenario, ends: Mapping[str, Sequence[tuple[str, int]]]) -> dict[str, dict[str, Any]]:
    from tests.bench.__main__ import Metric

    back = {rule: [requests for end, requests in one if end == "rolled back"] for rule, one in ends.items()}
    shares = {rule: len(one) / scenario.canaries for rule, one in back.items()}
    low, high = wilson(len(back["ours"]), scenario.canaries)
    spread = {"low": low, "high": high, "flagger": shares["flagger"], "canaries": scenario.canaries}
    promoted = sum(end == "promoted" for end, _ in ends["ours"]) / scenario.canaries
    metrics = {
        f"{scenario.name}.rolled_back": Metric(shares["ours"], shares["fixed"], "share").document() | spread
    }
    if not scenario.held:
        metrics[f"{scenario.name}.promoted"] = Metric(promoted, None, "share").document()
    typical = {rule: float(median(one)) for rule, one in back.items() if one}
    if not scenario.name.startswith("equal") and "ours" in typical:
        metrics[f"{scenario.name}.requests"] = Metric(
            typical["ours"], typical.get("fixed"), "requests"
        ).document() | {"flagger": typical.get("flagger")}
    return metrics


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The interval of a share at 95 % (Wilson, 1927)."""
    z, share = 1.96, hits / trials
    middle = share + z * z / (2 * trials)
    width = z * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return (middle - width) / (1 + z * z / trials), (middle + width) / (1 + z * z / trials)
