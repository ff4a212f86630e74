"""A Detector's history: enough of the last events to tell why a model serves, and never too much."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing import codec
from homeostat.eventing.messages import (
    AnomalyDetected,
    CanaryStarted,
    CanaryTick,
    DataLanded,
    DriftDetected,
    EvalPassed,
    Gate,
    InferenceRequest,
    ModelPromoted,
    TrainingCompleted,
    TrainingFailed,
    TrainingRequested,
)
from homeostat.eventing.wire import WireEvent
from homeostat.infra.chain import chain, promotion, tell
from homeostat.infra.cluster import history
from homeostat.infra.outcome import Outcome
from tests.cluster.detector_documents import refused
from tests.functions.detectors import NOON, cause, completed, detector, drifted, run

GATES = tuple(
    Gate(name=name, measured=0.123456789, limit=0.4, rule=">=", passed=False)
    for name in ("vus_pr", "vus_pr_over_champion", "false_alarm_rate", "latency_ms")
)
PASSED = EvalPassed(run="r1", algorithm="isolation-forest", uri="s3://m/r1", version="7", gates=GATES)


def wire(event: Any, id: str, by: str = "", at: int = 0) -> WireEvent:
    moment = NOON + timedelta(seconds=at)
    found = codec.announce(event, id=id, source="/t", subject="pump", cause=cause(by), now=moment)
    kept = {name: one for name, one in found.attributes.items() if by or name != "causationid"}
    return WireEvent(kept, found.data)


def promoted(revision: str) -> ModelPromoted:
    return ModelPromoted(revision=revision, algorithm="isolation-forest", version="7", uri="s3://m")


def episode(name: str) -> list[WireEvent]:
    """From rows that landed to the promotion of `name`."""
    return [
        wire(DataLanded(uri=f"s3://plant/{name}.csv"), f"{name}-1"),
        wire(TrainingRequested(trigger="data", reason="5000 new rows"), f"{name}-2", f"{name}-1"),
        wire(completed(name), f"{name}-3", f"{name}-2"),
        wire(PASSED, f"{name}-4", f"{name}-3"),
        wire(CanaryStarted(revision=name, percent=5), f"{name}-5", f"{name}-4"),
        wire(promoted(name), f"{name}-6", f"{name}-4"),
    ]


def landed(count: int, start: int = 0) -> list[WireEvent]:
    return [wire(DataLanded(uri=f"{n}.csv"), f"landed-{n}") for n in range(start, start + count)]


def document(entries: Any, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "pump"}, "status": {**status, "history": entries}}


def serving(name: str, previous: str | None = None) -> dict[str, Any]:
    return {"serving": {"name": name}, "previous": {"name": previous} if previous else None}


def ids(entries: Any) -> list[str]:
    return [one["id"] for one in entries]


# --- why ----------------------------------------------------------------------------------------------------
def test_the_chain_to_what_serves_is_told_from_the_history_alone() -> None:
    status = serving("r1")
    kept = history.added(status, episode("r1"), NOON)
    told = history.events(document(kept, **status))
    last = promotion(told, "pump", "r1")
    assert last is not None
    links = chain(told, last)
    assert [one.event.attributes["id"] for one in links] == ["r1-1", "r1-2", "r1-3", "r1-4", "r1-6"]
    assert [one.attributes["id"] for one in links[3].beside] == ["r1-5"]
    assert [tell(one) for one in told] == [tell(one) for one in episode("r1")]
    assert [one.attributes["time"] for one in told] == [one.attributes["time"] for one in episode("r1")]


def test_what_serves_and_served_outlive_any_number_of_events() -> None:
    status: dict[str, Any] = serving("r2", "r1")
    for events in (episode("r1"), landed(70), episode("r2"), landed(500, 100)):
        status["history"] = history.added(status, events, NOON)
    kept = status["history"]
    assert len(kept) == history.KEPT
    told = history.events(document(kept))
    for revision in ("r1", "r2"):
        last = promotion(told, "pump", revision)
        assert last is not None
        assert chain(told, last)[0].event.attributes["id"] == f"{revision}-1"
    assert "r1-5" not in ids(kept), "what only stands beside goes"
    assert kept[-1]["id"] == "landed-599"


def test_what_work_in_flight_goes_back_to_outlives_them_too() -> None:
    flying = run().model_copy(update={"cause": cause("r1-2")})
    status: dict[str, Any] = {"run": flying.model_dump(mode="json"), "held": [{"cause": {"id": "held"}}]}
    first = [*episode("r1")[:2], wire(TrainingRequested(), "held")]
    for events in (first, landed(300)):
        status["history"] = history.added(status, events, NOON)
    assert ids(status["history"])[:3] == ["r1-1", "r1-2", "held"]
    judging = {"judging": {"run": "r1"}, "history": history.added({}, episode("r1"), NOON)}
    assert ids(history.added(judging, landed(300), NOON))[:4] == ["r1-1", "r1-2", "r1-3", "r1-4"]


def test_a_model_that_nobody_serves_any_more_is_forgotten() -> None:
    status: dict[str, Any] = {**serving("r2"), "history": history.added({}, episode("r1"), NOON)}
    assert not set(ids(history.added(status, landed(200), NOON))) & set(ids(status["history"]))


def test_a_promotion_that_is_told_again_counts_anew() -> None:
    """A rollback to the one before: the latest promotion of it leads to it, as `promotion` reads it."""
    again = [*episode("r1"), *episode("r2"), wire(promoted("r1"), "again", "r2-4")]
    status: dict[str, Any] = {**serving("r1"), "history": history.added({}, again, NOON)}
    kept = ids(history.added(status, landed(200), NOON))
    assert {"again", "r2-4", "r2-1"} <= set(kept)
    assert "r1-6" not in kept


def test_a_circle_of_causes_ends() -> None:
    circle = [wire(PASSED, "a", "b"), wire(promoted("r1"), "b", "a")]
    status: dict[str, Any] = {**serving("r1"), "history": history.added({}, circle, NOON)}
    assert {"a", "b"} <= set(ids(history.added(status, landed(200), NOON)))


def test_what_somebody_else_wrote_into_it_is_no_obstacle() -> None:
    odd = [{"id": "x", "type": ModelPromoted.type, "source": "/x", "data": one} for one in ("no JSON", "[]")]
    status: dict[str, Any] = {**serving("r1"), "history": odd}
    assert len(history.added(status, landed(200), NOON)) == history.KEPT


# --- which --------------------------------------------------------------------------------------------------
def outcome(woke: WireEvent, *events: WireEvent) -> Outcome:
    return Outcome(detector(), [], list(events), woke=woke)


def test_what_only_passes_by_is_kept_when_something_goes_back_to_it() -> None:
    tick = wire(CanaryTick(), "tick")
    request = wire(InferenceRequest(instances=[[1.0] * 50]), "request")
    assert list(history.of(outcome(tick))) == []
    assert list(history.of(outcome(request))) == []
    advanced = wire(promoted("r1"), "p", "the verdict")
    assert list(history.of(outcome(tick, advanced))) == [advanced]
    alarm = AnomalyDetected(score=2, threshold=1, revision="r1", began=True, ended=False, rows=1)
    assert list(history.of(outcome(request, wire(alarm, "a", "request")))) == []
    drift = wire(drifted(), "d", "request")
    assert list(history.of(outcome(request, drift))) == [request, drift]
    (entry, _) = history.added({}, history.of(outcome(request, drift)), NOON)
    assert "data" not in entry, "somebody's rows"


def test_an_event_is_kept_once() -> None:
    kept = history.added({}, episode("r1"), NOON)
    assert history.added({"history": kept}, episode("r1"), NOON) == kept


def test_an_event_without_a_time_gets_the_one_when_it_was_decided_on() -> None:
    bare = WireEvent({"id": "1", "source": "/x", "type": DataLanded.type, "specversion": "1.0"})
    (entry,) = history.added({}, [bare], datetime(2026, 3, 1, tzinfo=UTC))
    assert entry == {"id": "1", "source": "/x", "type": DataLanded.type, "time": "2026-03-01T00:00:00Z"}


# --- how much -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "event",
    [
        DataLanded(uri="s3://plant/pump/2026/03/01/" + "a" * 150, etag="e" * 32, size=5, sequencer="0" * 18),
        PASSED,
        drifted(),
        TrainingCompleted(
            run="pump-1",
            algorithm="isolation-forest",
            uri="s3://models/pump-1",
            version="7",
            metrics={f"metric_{n}": 0.123456789 for n in range(12)},
            candidates={f"algorithm-{n}": {f"metric_{m}": 0.1 for m in range(12)} for n in range(8)},
            rows=60_000,
            fingerprint="f" * 64,
        ),
        promoted("r1"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_people_are_told_of_an_event_is_kept(event: Any) -> None:
    one = wire(event, "1")
    (kept,) = history.events(document(history.added({}, [one], NOON)))
    assert tell(kept) == tell(one) != ""


def test_a_long_text_is_cut_and_not_left_out() -> None:
    one = wire(TrainingFailed(run="r", step="fit", error="Traceback " * 400), "1")
    (kept,) = history.events(document(history.added({}, [one], NOON)))
    assert tell(kept).startswith("fit: Traceback Traceback")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=2000),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=20), inner, max_size=5),
    max_leaves=20,
)
TEXTS = st.text(st.characters(min_codepoint=0x20, codec="utf-8"), min_size=1, max_size=600)
EVENTS = st.builds(
    WireEvent,
    st.fixed_dictionaries(
        {"id": TEXTS, "source": TEXTS, "type": TEXTS | st.just(AnomalyDetected.type)},
        optional={"time": TEXTS, "causationid": TEXTS},
    ),
    st.none() | st.binary(max_size=10) | JSON.map(orjson.dumps),
)


@given(st.lists(EVENTS, max_size=8), st.integers(0, history.KEPT))
def test_whatever_comes_is_bounded_and_passes_the_schema(events: list[WireEvent], others: int) -> None:
    before = history.added({}, landed(others), NOON)
    kept = history.added({"history": before}, events, NOON)
    spec = {"data": {"uri": "x", "channels": ["a"]}}
    named = {"apiVersion": "homeostat.dev/v1alpha1", "kind": "Detector", "metadata": {"name": "pump"}}
    assert not refused({**named, "spec": spec, "status": {"history": kept}})
    assert len(kept) <= history.KEPT
    assert len(set(ids(kept))) == len(kept)
    for one in kept:
        assert len(one.get("data", "").encode()) <= history.DATA
        assert isinstance(orjson.loads(one.get("data", "{}")), dict)
    assert [one.attributes["id"] for one in history.events(document(kept))] == ids(kept)


def test_a_full_history_takes_a_tenth_of_what_an_object_may() -> None:
    large = DriftDetected(
        test="t" * 400,
        statistic=1.0,
        threshold=1.0,
        consecutive=1,
        window=1,
        revision="r" * 400,
        channels=tuple("c" * 12 for _ in range(40)),
    )
    kept = history.added({}, [wire(large, f"{n:036}", "c" * 36) for n in range(200)], NOON)
    assert len(kept) == history.KEPT
    assert len(orjson.dumps(kept)) < 150_000
