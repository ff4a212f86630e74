"""The canary's figures beside the stable revision's, one comparison for each kind.

The rate of false rollbacks that the Detector asks for is shared equally by the stages of a rollout (its
steps, and the shadow before them) and by the kinds of figures that are compared, and within a kind by the
bounds of its histogram. So it holds for the canary as a whole, however often it is looked at; only a server
that starts again, which `MAX_RESTARTS` bounds, begins the evidence of its step anew.

A request is what counts once. Rows of one request are not independent, so that rows are never taken for more
than the requests that brought them. An event that lasts over many requests comes to both sides as long as
these are dealt by chance; where a series keeps its side, few series are little evidence, and no count of
their requests makes it more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, repeat
from math import sqrt
from typing import Literal, NamedTuple

from homeostat.eventing.messages import Comparison

from .canary import LATENCY_BUCKETS_MS, SCORE_BUCKETS, slower
from .detector import Quality, RevisionFigures
from .sequential import Share, difference
from .spec import CanarySpec

HIGHER = tuple(f"scores above {bound:g} of the threshold" for bound in SCORE_BUCKETS)

Outcome = Literal["worse", "no worse", "inconclusive"]

TAIL = 0.01
"""The p99 is judged and not what is rarer: so large a share of requests may be slower than anything."""

STRETCH = 10
"""So many labelled rows count once: labels come in stretches of rows that are alike."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is judged: the step's increments of both revisions, and how it was arranged. `stages` share the
    rate of false rollbacks; a shadow is judged on copies, which nobody waits for. `alike`: both revisions are
    of one algorithm. Of two, scores are on one scale only from the threshold on."""

    spec: CanarySpec
    max_latency_ms: float
    canary: RevisionFigures
    stable: RevisionFigures
    percent: int
    shadow: bool = False
    alike: bool = True

    @property
    def balance(self) -> float:
        """Requests of the canary for each of the stable revision's, as they were meant to be dealt."""
        return self.percent / (100 - self.percent) if 0 < self.percent < 100 else 1.0

    @property
    def error(self) -> float:
        """Each stage's part of the rate of false rollbacks."""
        return self.spec.false_rollback_rate / (max(len(self.spec.steps), 1) + (self.spec.shadow > 0))


class Pair(NamedTuple):
    """One share on both sides, the increase that is allowed, and a guess of the rate."""

    name: str
    canary: Share
    stable: Share
    limit: float
    around: float

    @property
    def increase(self) -> float | None:
        """None where it could not be measured, on whichever side."""
        if self.canary.ratio is None or self.stable.ratio is None:
            return None
        return self.canary.ratio - self.stable.ratio


def of_traffic(trial: Trial) -> tuple[Comparison, ...]:
    """One comparison for each kind of figure that is asked for; of a histogram, the bound that speaks most
    against the canary."""
    kinds = [one for one in _kinds(trial) if one]
    parts = len(kinds) + (2 if trial.spec.judge_by == "labels" else 0)
    slack = patience(trial.spec, trial.canary.requests)
    return tuple(_worst(pairs, trial.error / parts, trial.balance, slack) for pairs in kinds)


def of_labels(trial: Trial, canary: Quality, stable: Quality) -> tuple[Comparison, ...]:
    """How much is lost of recall (anomalous rows that are missed) and of precision (alarms that are false).

    Both sides' labels count from their promotion, or their trial, on: the bounds need no same rows."""
    error = trial.error / (sum(map(bool, _kinds(trial))) + 2)
    limit = trial.spec.max_quality_loss
    pairs = [
        Pair("missed of anomalous rows", _missed(canary), _missed(stable), limit, 0.2),
        Pair("false of flagged rows", _false(canary), _false(stable), limit, 0.2),
    ]
    slack = patience(trial.spec, trial.spec.min_requests)
    return tuple(_worst([pair], error, 1.0, slack) for pair in pairs)


def patience(spec: CanarySpec, requests: int) -> float:
    """How much of an allowed increase may be seen where the truth is not sure: a half at the minimum of
    requests, nearly all of it after many, as what is seen comes closer to what is true."""
    return 1 - sqrt(spec.min_requests / max(requests, spec.min_requests)) / 2


def no_worse(one: Comparison, slack: float) -> bool:
    """Surely within its limit, or by the look of it, with some of the limit in hand."""
    if one.outcome != "inconclusive" or one.canary is None or one.stable is None:
        return one.outcome == "no worse"
    return one.canary - one.stable <= slack * one.limit


def _kinds(trial: Trial) -> Iterable[Sequence[Pair]]:
    canary, stable, spec = trial.canary, trial.stable, trial.spec
    if spec.max_error_increase < 1:
        errors = Share(canary.errors, canary.requests), Share(stable.errors, stable.requests)
        yield [Pair("error ratio", *errors, spec.max_error_increase, around=0.01)]
    if not trial.shadow:
        yield _slower(trial)
    if spec.judge_by == "labels":
        return
    if spec.max_anomaly_increase < 1:
        flagged = _flagged(canary), _flagged(stable)
        yield [Pair("anomaly rate", *flagged, spec.max_anomaly_increase, around=0.05)]
    if spec.max_score_shift < 1:
        yield _higher(trial)


def _slower(trial: Trial) -> list[Pair]:
    """A canary that takes `max_latency_ratio` times as long is slower than a bound as often as the stable
    revision is slower than the bound by that ratio. What is fast enough is never slow."""
    ratio, pairs = trial.spec.max_latency_ratio, []
    sides = zip(_above(trial.canary.latency), _above(trial.stable.latency), strict=False)
    for bound, (canary, stable) in zip(LATENCY_BUCKETS_MS, sides, strict=False):
        if bound >= trial.max_latency_ms:
            allowed = max(slower(trial.stable.latency, bound / ratio), TAIL)
            limit = max(allowed - (stable.ratio or 0.0), 0.0)
            pairs.append(Pair(f"slower than {bound} ms", canary, stable, limit, around=0.02))
    return pairs


def _higher(trial: Trial) -> list[Pair]:
    sides = zip(_above(trial.canary.scores), _above(trial.stable.scores), strict=False)
    return [
        Pair(
            name,
            _of_requests(canary, trial.canary.requests),
            _of_requests(stable, trial.stable.requests),
            trial.spec.max_score_shift,
            around=0.2,
        )
        for bound, name, (canary, stable) in zip(SCORE_BUCKETS, HIGHER, sides, strict=False)
        if trial.alike or bound >= 1
    ]


def _above(counts: Sequence[int]) -> Iterable[Share]:
    """How many lie above each bound of a histogram; of one that is shorter than its bounds, none."""
    total = sum(counts)
    below = accumulate(chain(counts, repeat(0)))
    return (Share(total - under, total) for under in below)


def _flagged(side: RevisionFigures) -> Share:
    return _of_requests(Share(min(side.anomalies, side.rows), side.rows), side.requests)


def _of_requests(rows: Share, requests: int) -> Share:
    """The same share, counted in requests where these are fewer."""
    ratio, trials = rows.ratio, min(rows.trials, requests)
    return Share(ratio * trials, trials) if ratio is not None else rows


def _missed(one: Quality) -> Share:
    return Share(one.missed / STRETCH, (one.caught + one.missed) / STRETCH)


def _false(one: Quality) -> Share:
    return Share(one.false_alarms / STRETCH, (one.caught + one.false_alarms) / STRETCH)


def _worst(pairs: Sequence[Pair], error: float, balance: float, slack: float) -> Comparison:
    """The pair that speaks most against the canary: one that is surely worse, or else the one whose increase
    uses most of what is allowed. Bounds are worked out only where they may matter."""

    increases = [pair.increase for pair in pairs]
    used = [
        -1.0 if increase is None else increase - slack * pair.limit
        for pair, increase in zip(pairs, increases, strict=True)
    ]
    most = used.index(max(used))
    beyond = [place for place, seen in enumerate(increases) if seen is not None and seen > pairs[place].limit]
    found = [_compared(pairs[place], error / len(pairs), balance) for place in dict.fromkeys([most, *beyond])]
    return next((one for one in found if one.outcome == "worse"), found[0])


def _compared(pair: Pair, error: float, balance: float) -> Comparison:
    low, high, outcome = _bounds(pair, error, balance)
    return Comparison(
        name=pair.name,
        canary=pair.canary.ratio,
        stable=pair.stable.ratio,
        low=low,
        high=high,
        limit=pair.limit,
        outcome=outcome,
    )


def _bounds(pair: Pair, error: float, balance: float) -> tuple[float | None, float | None, Outcome]:
    if pair.increase is None:
        return None, None, "inconclusive"
    low, high = difference(pair.canary, pair.stable, error, balance, pair.around)
    return low, high, "worse" if low > pair.limit else "no worse" if high <= pair.limit else "inconclusive"
