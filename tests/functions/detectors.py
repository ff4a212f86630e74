"""Detectors, causes and figures for the decisions' tests, in as few words as a test needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Any, TypeVar

from homeostat.eventing.messages import DriftDetected, EvalPassed, Gate, TrainingCompleted
from homeostat.functions.canary import LATENCY_BUCKETS_MS, SCORE_BUCKETS
from homeostat.functions.detector import (
    Batch,
    Canary,
    Cause,
    Detector,
    Message,
    Remember,
    Revision,
    RevisionFigures,
    Run,
    Status,
)
from homeostat.functions.spec import Spec

M = TypeVar("M")

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def cause(identity: str = "e1") -> Cause:
    return Cause(id=identity, correlationid=f"c-{identity}")


def spec(mode: str = "act", **sections: Mapping[str, Any]) -> Spec:
    document = {"data": {"uri": "s3://plant/pump/", "channels": ["Current"]}, "mode": mode, **sections}
    return Spec.model_validate(document)


def batch(name: str = "a.csv", rows: int = 100, etag: str = "1", **fields: Any) -> Batch:
    return Batch(uri=f"s3://plant/pump/{name}", etag=etag, rows=rows, **{"landed": NOON, **fields})


def revision(name: str = "r1", **fields: Any) -> Revision:
    return Revision(
        name=name, uri=f"models/{name}", algorithm="isolation-forest", version="1", metrics={"vus_pr": 0.6}
    ).model_copy(update=fields)


def run(name: str = "pump-run", started: datetime = NOON) -> Run:
    return Run(name=name, started=started, reason="5000 new rows", cause=cause())


def canary(name: str = "r2", percent: int = 5, started: datetime = NOON, **fields: Any) -> Canary:
    return Canary(
        revision=revision(name),
        percent=percent,
        started=started,
        step_started=started,
        cause=cause("eval"),
    ).model_copy(update=fields)


def figures(requests: int = 0, errors: int = 0, anomalies: int = 0, fast: bool = True) -> RevisionFigures:
    """One row per request, all requests in one bucket: 2 to 5 ms when fast, 200 to 500 ms when not. Scores
    are half the threshold, those of anomalies just above it."""
    latency, scores = [0] * (len(LATENCY_BUCKETS_MS) + 1), [0] * (len(SCORE_BUCKETS) + 1)
    latency[2 if fast else 8] = requests
    scores[SCORE_BUCKETS.index(0.5)] = requests - anomalies
    scores[SCORE_BUCKETS.index(1.1)] = anomalies
    return RevisionFigures(
        requests=requests,
        errors=errors,
        rows=requests,
        anomalies=anomalies,
        latency=tuple(latency),
        scores=tuple(scores),
    )


def added(one: RevisionFigures, other: RevisionFigures) -> RevisionFigures:
    """Counters after both."""
    totals = {
        name: getattr(one, name) + getattr(other, name)
        for name in ("requests", "errors", "rows", "anomalies")
    }
    latency, scores = (
        tuple(map(sum, zip_longest(getattr(one, name), getattr(other, name), fillvalue=0)))
        for name in ("latency", "scores")
    )
    return RevisionFigures(**totals, latency=latency, scores=scores)


def detector(
    now: datetime = NOON, woken_by: str = "e1", asked: Spec | None = None, **status: Any
) -> Detector:
    """A detector with enough rows for a first training, unless the status says otherwise."""
    known = {"batches": (batch(rows=6000),), "new_rows": 6000, **status}
    return Detector(name="pump", spec=asked or spec(), status=Status(**known), now=now, cause=cause(woken_by))


def later(one: Detector, messages: Iterable[Message], by: timedelta = SECOND, woken_by: str = "") -> Detector:
    """The detector after a decision, some time later, as the next event finds it."""
    return one.model_copy(
        update={
            "status": remembered(messages, one),
            "now": one.now + by,
            "cause": cause(woken_by or f"{one.cause.id}+"),
        }
    )


def remembered(messages: Iterable[Message], before: Detector) -> Status:
    statuses = [one.status for one in messages if isinstance(one, Remember)]
    assert len(statuses) <= 1, "a decision says its status at most once"
    return statuses[0] if statuses else before.status


def only(kind: type[M], messages: Iterable[object]) -> M:
    """The one message of its kind."""
    found = [one for one in messages if isinstance(one, kind)]
    assert len(found) == 1, f"{len(found)} of {kind.__name__} in {messages}"
    return found[0]


def none(kind: type[Any] | tuple[type[Any], ...], messages: Iterable[object]) -> bool:
    return not any(isinstance(one, kind) for one in messages)


def completed(run: str = "pump-run", **changes: Any) -> TrainingCompleted:
    fields: dict[str, Any] = {
        "run": run,
        "algorithm": "isolation-forest",
        "uri": f"models/{run}",
        "version": "1",
        "metrics": {"vus_pr": 0.6, "false_alarm_rate": 0.02, "latency_ms": 1.0},
        "rows": 6000,
        "fingerprint": "f",
    }
    return TrainingCompleted(**{**fields, **changes})


def passed(run: str = "r2") -> EvalPassed:
    gate = Gate(name="vus_pr", measured=0.6, limit=0.4, rule=">=", passed=True)
    return EvalPassed(run=run, algorithm="isolation-forest", uri=f"models/{run}", version="1", gates=(gate,))


def drifted(revision: str = "r1", **fields: Any) -> DriftDetected:
    return DriftDetected(
        test="mmd", statistic=0.4, threshold=0.1, consecutive=3, window=500, revision=revision, **fields
    )
