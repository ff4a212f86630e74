"""Decide whether a trained candidate may see traffic: every gate, with its figure, in the event.

A figure that could not be measured fails its gate: nothing is promoted on nothing. Only where there is
nothing to measure is there no gate: no champion, a regime with few anomalies, too few rows to tell a rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from homeostat.eventing.messages import EvalFailed, EvalPassed, Figures, Gate, TrainingCompleted

from .detector import Detector, Judging, Message
from .spec import GateSpec

Limit = tuple[str, Literal[">=", "<="], str]
MUST: tuple[Limit, ...] = (
    ("false_alarm_rate", "<=", "max_false_alarm_rate"),
    ("latency_ms", "<=", "max_latency_ms"),
)
"""Figures that every run measures, the rule, and the spec's limit."""
TOLD: tuple[Limit, ...] = (
    ("size_mb", "<=", "max_size_mb"),
    ("canary_inputs", ">=", "min_canary_inputs"),
)
"""Figures that a run of an older image does not know. One that is told, and could not be measured, fails."""
MAY: tuple[Limit, ...] = (("calibration", "<=", "max_calibration"),)
"""Figures that rows may be too few for."""


def decide(event: TrainingCompleted, detector: Detector) -> Iterable[Message]:
    run = detector.status.run
    if run is None or run.name != event.run:
        # A run that was given up, or that another home started: its candidate is registered, not served.
        yield detector.remember(message=f"run {event.run} completed, but nobody waits for it")
        return
    gates = tuple(_gates(event, detector.spec.gate))
    failed = [gate for gate in gates if not gate.passed]
    verdict = EvalFailed if failed else EvalPassed
    candidate = Judging(run=event.run, since=detector.now, trigger=run.trigger, parameters=run.parameters)
    yield detector.remember(
        run=None,
        judging=None if failed else candidate,
        drift=detector.status.drift.unlatched() if failed else detector.status.drift,
        message=f"{event.run}: " + ("; ".join(map(tell, failed)) if failed else "every gate passed"),
    )
    yield verdict(
        run=event.run,
        algorithm=event.algorithm,
        uri=event.uri,
        version=event.version,
        gates=gates,
        report=event.report,
    )


def _gates(event: TrainingCompleted, spec: GateSpec) -> Iterator[Gate]:
    metrics = event.metrics
    yield _gate(spec.metric, metrics.get(spec.metric), ">=", spec.min)
    yield from _against_champion(event, spec)
    for name, rule, limit in MUST:
        yield _gate(name, metrics.get(name), rule, getattr(spec, limit))
    for name, rule, limit in TOLD:
        if name in metrics:
            yield _gate(name, metrics[name], rule, getattr(spec, limit))
    for name, rule, limit in MAY:
        allowed = getattr(spec, limit)
        if metrics.get(name) is not None and allowed is not None:
            yield _gate(name, metrics[name], rule, allowed)


def _against_champion(event: TrainingCompleted, spec: GateSpec) -> Iterator[Gate]:
    """Better than the champion where the champion is asked to do better, on the rows that are new to it; on
    all rows where these alone cannot tell. And on what it was trained for not surely worse by far."""
    new, old = (event.comparison.get(name, {}) for name in ("new", "old"))
    ours, theirs = new.get("candidate"), new.get("champion")
    if theirs is None:
        ours, theirs = event.metrics.get(spec.metric), (event.champion_metrics or {}).get(spec.metric)
    if theirs is not None:
        yield _gate(f"{spec.metric}_over_champion", ours, ">=", theirs + spec.improve)
    lost = _surely_lost(old)
    if lost is not None and spec.max_loss is not None:
        yield _gate(f"{spec.metric}_lost_on_old", lost, "<=", spec.max_loss)


def _surely_lost(regime: Figures) -> float | None:
    """How much the candidate is worse by at least, as sure as the interval is; 0 where it may be no worse."""
    high = regime.get("high")
    return None if high is None else max(0.0, -high)


def _gate(name: str, measured: float | None, rule: Literal[">=", "<="], limit: float) -> Gate:
    held = measured is not None and (measured >= limit if rule == ">=" else measured <= limit)
    return Gate(name=name, measured=measured, limit=limit, rule=rule, passed=held)


def tell(gate: Gate) -> str:
    """A gate in words: `vus_pr 0.21 is not >= 0.4`."""
    measured = "not measured" if gate.measured is None else f"{gate.measured:.3g}"
    return f"{gate.name} {measured} is {'' if gate.passed else 'not '}{gate.rule} {gate.limit:.3g}"
