"""Decide whether a trained candidate may see traffic: every gate, with its figure, in the event.

A figure that could not be measured fails its gate: nothing is promoted on nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from homeostat.eventing.messages import EvalFailed, EvalPassed, Gate, TrainingCompleted

from .detector import Detector, Judging, Message


def decide(event: TrainingCompleted, detector: Detector) -> Iterable[Message]:
    run = detector.status.run
    if run is None or run.name != event.run:
        # A run that was given up, or that another home started: its candidate is registered, not served.
        yield detector.remember(message=f"run {event.run} completed, but nobody waits for it")
        return
    gates = tuple(_gates(event, detector))
    failed = [gate for gate in gates if not gate.passed]
    verdict = EvalFailed if failed else EvalPassed
    candidate = Judging(run=event.run, since=detector.now, trigger=run.trigger, parameters=run.parameters)
    yield detector.remember(
        run=None,
        judging=None if failed else candidate,
        drift=detector.status.drift.unlatched() if failed else detector.status.drift,
        message=f"{event.run}: " + ("; ".join(map(tell, failed)) if failed else "every gate passed"),
    )
    yield verdict(run=event.run, algorithm=event.algorithm, uri=event.uri, version=event.version, gates=gates)


def _gates(event: TrainingCompleted, detector: Detector) -> Iterator[Gate]:
    spec, metrics = detector.spec.gate, event.metrics
    yield _at_least(spec.metric, metrics.get(spec.metric), spec.min)
    champion = (event.champion_metrics or {}).get(spec.metric)
    if champion is not None:
        yield _at_least(f"{spec.metric}_over_champion", metrics.get(spec.metric), champion + spec.improve)
    yield _at_most("false_alarm_rate", metrics.get("false_alarm_rate"), spec.max_false_alarm_rate)
    yield _at_most("latency_ms", metrics.get("latency_ms"), spec.max_latency_ms)


def _at_least(name: str, measured: float | None, limit: float) -> Gate:
    return Gate(
        name=name,
        measured=measured,
        limit=limit,
        rule=">=",
        passed=measured is not None and measured >= limit,
    )


def _at_most(name: str, measured: float | None, limit: float) -> Gate:
    return Gate(
        name=name,
        measured=measured,
        limit=limit,
        rule="<=",
        passed=measured is not None and measured <= limit,
    )


def tell(gate: Gate) -> str:
    """A gate in words: `vus_pr 0.21 is not >= 0.4`."""
    measured = "not measured" if gate.measured is None else f"{gate.measured:.3g}"
    return f"{gate.name} {measured} is {'' if gate.passed else 'not '}{gate.rule} {gate.limit:.3g}"
