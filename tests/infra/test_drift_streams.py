"""Scores and errors beside rows, what waits for its calibration, and what an event costs the drift host."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homeostat.eventing.codec import Context
from homeostat.eventing.messages import InferenceRequest, InferenceResponse, LabelReceived
from homeostat.functions.detect_drift import DriftFacts
from homeostat.functions.detector import Cause, Detector, Revision, Status
from homeostat.functions.spec import Data, Drift, Spec
from homeostat.infra.observing.drift import WAIT_SECONDS, DriftObserver, Woke
from homeostat.infra.observing.drift_memory import MOST_HALVES
from homeostat.infra.observing.drift_model import Models, local_model, settings_of
from homeostat.models import artifact
from homeostat.models.drift_calibration import Calibration, calibrate
from homeostat.models.drift_files import ARRAYS
from homeostat.models.fitting import fit

CHANNELS = ("Current", "Pressure")
NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
WINDOW, EVERY = 100, 20


def calm(count: int, seed: int = 1) -> Any:
    """Rows that lie beside each other as a process' do."""
    noise = np.random.default_rng(seed).normal(size=(count, 2))
    return np.array([1.0, 20.0]) + np.array([0.1, 2.0]) * noise


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact from before there were calibrations."""
    folder = tmp_path_factory.mktemp("models") / "pump-1"
    artifact.save(fit("sub-pca", calm(1000, 9), channels=CHANNELS, window=5), folder, {"version": "1"})
    return folder


@pytest.fixture
def observer(tmp_path: Path) -> Iterator[DriftObserver]:
    one = DriftObserver(tmp_path / "drift.db")
    yield one
    one.close()


def detector(uri: Path, now: datetime = NOW, name: str = "pump", **drift: Any) -> Detector:
    serving = Revision(name="pump-1", uri=str(uri), algorithm="sub-pca", version="1")
    wanted = {"test": "ks", "window": WINDOW, "every": EVERY, **drift}
    return Detector(
        name=name,
        spec=Spec(data=Data(uri="data/", channels=CHANNELS), drift=Drift(**wanted)),
        status=Status(serving=serving),
        now=now,
        cause=Cause(id="e", correlationid="e"),
    )


def context(event: Woke, number: object) -> Context:
    name = str(number)
    return Context(
        id=name, source="http://kserve/", type=event.type, subject="pump", correlationid=name,
        time="2026-03-02T06:00:00Z",
    )  # fmt: skip


def ready(observer: DriftObserver, pump: Detector) -> None:
    assert pump.status.serving
    observer.models.calibration(pump.status.serving, settings_of(pump.spec))
    observer.models.settle()


def tell(observer: DriftObserver, pump: Detector, event: Woke, number: object) -> DriftFacts | None:
    return observer.observe(event, context(event, number), pump)


def asked(rows: Any) -> InferenceRequest:
    return InferenceRequest(instances=rows.tolist())


def answered(scores: Any, revision: str | None = "pump-1", flags: Any = None) -> InferenceResponse:
    flags = [False] * len(scores) if flags is None else flags
    told = [{"score": float(score), "anomaly": bool(flag)} for score, flag in zip(scores, flags, strict=True)]
    return InferenceResponse(predictions=told, revision=revision)


def streams(facts: DriftFacts | None) -> list[tuple[str, bool]]:
    return [(one.on, one.drifted) for one in facts.verdicts] if facts else []


# --- scores ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("first", ["request", "answer"])
def test_scores_are_tested_with_the_rows_that_they_are_of(
    observer: DriftObserver, model: Path, first: str
) -> None:
    """Whichever comes first."""
    pump, fitted = detector(model, on=["features", "scores"]), artifact.load(model)
    ready(observer, pump)
    rows = calm(WINDOW)
    for lift, expected in ((0.0, False), (5.0, True)):
        events: list[Woke] = [asked(rows), answered(fitted.score(rows) + lift)]
        number = f"{first} {lift}"
        halves = events if first == "request" else events[::-1]
        assert tell(observer, pump, halves[0], number) is None
        facts = tell(observer, pump, halves[1], number)
        assert streams(facts) == [("features", False), ("scores", expected)]
        assert tell(observer, pump, halves[1], number) == facts, "delivered again"


def test_an_answer_of_another_revision_is_not_this_ones(observer: DriftObserver, model: Path) -> None:
    pump = detector(model, on=["features", "scores"])
    ready(observer, pump)
    tell(observer, pump, asked(calm(WINDOW)), 1)
    assert tell(observer, pump, answered(np.zeros(WINDOW), "pump-2"), 1) is None


def test_rows_whose_scores_never_come_do_not_wait_for_ever(observer: DriftObserver, model: Path) -> None:
    pump = detector(model, on=["features", "scores"])
    ready(observer, pump)
    assert tell(observer, pump, asked(calm(WINDOW)), 1) is None
    soon = pump.model_copy(update={"now": NOW + timedelta(seconds=WAIT_SECONDS / 2)})
    assert tell(observer, soon, asked(calm(1)), 2) is None
    late = pump.model_copy(update={"now": NOW + timedelta(seconds=WAIT_SECONDS + 1)})
    assert streams(tell(observer, late, asked(calm(1)), 3)) == [("features", False)]


def test_so_many_wait_and_no_more(observer: DriftObserver, model: Path) -> None:
    pump = detector(model, on=["scores"])
    ready(observer, pump)
    for number in range(MOST_HALVES + 50):
        tell(observer, pump, answered([0.1]), f"alone {number}")
        tell(observer, pump, asked(calm(1, number)), f"lonely {number}")
    waiting = observer._memory._one("SELECT count(*) FROM halves")
    assert waiting == (MOST_HALVES,)


def test_scores_that_do_not_fit_their_rows_are_left_out(observer: DriftObserver, model: Path) -> None:
    pump = detector(model, on=["features", "scores"])
    ready(observer, pump)
    tell(observer, pump, answered(np.zeros(WINDOW - 1)), 1)
    assert streams(tell(observer, pump, asked(calm(WINDOW)), 1)) == [("features", False)]


@pytest.mark.parametrize(
    "answer",
    [
        InferenceResponse(),
        InferenceResponse(predictions=[1.0, 2.0]),
        InferenceResponse(predictions=[{"score": "high"}]),
        InferenceResponse(predictions=[{"score": None}]),
        InferenceResponse(outputs=[{"name": "label"}]),
        InferenceResponse(outputs=[{"name": "score", "data": [[1.0]]}]),
    ],
)
def test_answers_of_other_predictors_say_nothing(
    observer: DriftObserver, model: Path, answer: InferenceResponse
) -> None:
    assert tell(observer, detector(model, on=["scores"]), answer, 1) is None


def test_v2_answers_have_the_same_scores(observer: DriftObserver, model: Path) -> None:
    pump, rows = detector(model, on=["scores"]), calm(WINDOW)
    ready(observer, pump)
    tell(observer, pump, asked(rows), 1)
    scores = artifact.load(model).score(rows).tolist()
    v2 = InferenceResponse(outputs=[{"name": "score", "data": scores}], parameters={"revision": "pump-1"})
    assert streams(tell(observer, pump, v2, 1)) == [("scores", False)]


def test_who_watches_rows_alone_looks_at_no_answers(observer: DriftObserver, model: Path) -> None:
    assert tell(observer, detector(model), answered([1.0]), 1) is None
    assert tell(observer, detector(model), LabelReceived(anomalous=True, request="1"), 2) is None
    assert observer._memory._one("SELECT count(*) FROM events") == (0,)


# --- errors ------------------------------------------------------------------------------------------------
def test_answers_that_turn_out_wrong_are_drift(observer: DriftObserver, model: Path) -> None:
    """One in ten at first, which is the reference, and the half of them later."""
    pump = detector(model, on=["errors"])
    ready(observer, pump)
    told: list[list[tuple[str, bool]]] = []
    for number in range(60):
        tell(observer, pump, answered(np.zeros(10)), number)
        wrong = 1 if number < 35 else 5
        label = LabelReceived(anomalous=False, request=str(number), rows=tuple(range(wrong, 10)))
        tell(observer, pump, label, f"right {number}")
        label = LabelReceived(anomalous=True, request=str(number), rows=tuple(range(wrong)))
        facts = tell(observer, pump, label, f"wrong {number}")
        assert tell(observer, pump, label, f"wrong {number}") == facts, "delivered again"
        told.append(streams(facts))
    calm_ones, later = told[:35], told[45:]
    assert not any(drifted for one in calm_ones for _, drifted in one)
    assert ("errors", True) in [verdict for one in later for verdict in one]


def test_a_label_that_is_refused_elsewhere_says_nothing_here(observer: DriftObserver, model: Path) -> None:
    assert tell(observer, detector(model, on=["errors"]), LabelReceived(anomalous=True), 1) is None


# --- off the event path ------------------------------------------------------------------------------------
def slow(gate: threading.Event) -> Callable[..., Any]:
    def wait(*arguments: Any, **settings: Any) -> Any:
        assert gate.wait(60)
        return calibrate(*arguments, **settings) if arguments else None

    return wait


@pytest.mark.parametrize("what", ["backend", "calibrate"])
def test_events_are_answered_while_the_test_is_loaded_or_calibrated(
    tmp_path: Path, model: Path, what: str
) -> None:
    gate = threading.Event()
    observer = DriftObserver(tmp_path / "drift.db", Models(local_model, **{what: slow(gate)}))
    pump = detector(model)
    if what == "calibrate":
        observer.models.settle()  # alibi-detect is loaded
    for number in range(30):
        begun = time.monotonic()
        assert tell(observer, pump, asked(calm(100, number)), number) is None
        assert time.monotonic() - begun < 5
    (kept,) = observer._memory._one("SELECT sum(length(rows)) FROM pieces")
    assert kept / 8 <= 2 * (WINDOW + EVERY) + 100, "as many rows as a test may need"
    gate.set()
    observer.models.settle()
    facts = tell(observer, pump, asked(calm(1)), "then")
    assert streams(facts)
    assert not any(drifted for _, drifted in streams(facts)), "the rows that waited were tested"
    observer.close()


class Counted:
    """Who calibrates, and how often."""

    def __init__(self) -> None:
        self.settings: list[Any] = []

    def __call__(self, *arguments: Any, **given: Any) -> Calibration:
        self.settings.append(given["settings"])
        return calibrate(*arguments, **given)


def test_what_was_shipped_is_used_until_the_spec_asks_for_another_test(tmp_path: Path) -> None:
    shipped, counted = tmp_path / "pump-1", Counted()
    fitted = fit("sub-pca", calm(1000, 9), channels=CHANNELS, window=5)
    artifact.save(fitted, shipped, {"version": "1"})
    calibrate(fitted, calm(1000, 9), settings=settings_of(detector(shipped).spec)).save(shipped)
    observer = DriftObserver(tmp_path / "drift.db", Models(local_model, calibrate=counted))
    same: list[dict[str, Any]] = [{}, {"every": 5}, {"consecutive": 9}]
    for drift in same:
        ready(observer, detector(shipped, **drift))
    assert counted.settings == []
    others: list[dict[str, Any]] = [{"window": 90}, {"test": "cvm"}, {"p_value": 0.05}, {"on": ["scores"]}]
    for drift in others:
        ready(observer, detector(shipped, **drift))
        ready(observer, detector(shipped, **drift))
        assert counted.settings[-1] == settings_of(detector(shipped, **drift).spec)
    assert len(counted.settings) == 4
    observer.close()


def test_a_damaged_calibration_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, counted = tmp_path / "pump-1", Counted()
    fitted = fit("sub-pca", calm(1000, 9), channels=CHANNELS, window=5)
    artifact.save(fitted, folder, {"version": "1"})
    calibrate(fitted, calm(1000, 9), settings=settings_of(detector(folder).spec)).save(folder)
    (folder / ARRAYS).write_bytes((folder / ARRAYS).read_bytes()[:-1])
    observer = DriftObserver(tmp_path / "drift.db", Models(local_model, calibrate=counted))
    ready(observer, detector(folder))
    assert len(counted.settings) == 1
    assert "is not used" in caplog.text
    assert streams(tell(observer, detector(folder), asked(calm(WINDOW)), 1)) == [("features", False)]
    observer.close()


def test_a_calibration_that_fails_is_tried_again(tmp_path: Path, model: Path) -> None:
    turns: list[int] = []

    def now_and_then(*arguments: Any, **given: Any) -> Calibration:
        turns.append(1)
        if len(turns) == 1:
            raise MemoryError
        return calibrate(*arguments, **given)

    observer = DriftObserver(tmp_path / "drift.db", Models(local_model, calibrate=now_and_then))
    for number in range(3):
        tell(observer, detector(model), asked(calm(WINDOW, number)), number)
        observer.models.settle()
    assert streams(tell(observer, detector(model), asked(calm(WINDOW)), "last"))
    assert len(turns) == 2
    observer.close()


# --- cost --------------------------------------------------------------------------------------------------
def test_an_event_costs_little_however_many_detectors_there_are(observer: DriftObserver, model: Path) -> None:
    """Fifty detectors, a row at a time: an event without a test, and one with it."""
    pumps = [detector(model, name=f"pump-{number}") for number in range(50)]
    ready(observer, pumps[0])
    for pump in pumps:
        tell(observer, pump, asked(calm(WINDOW)), "first")
    plain, tested = list[float](), list[float]()
    for number in range(EVERY):
        event = asked(calm(1, number))
        for pump in pumps:
            begun = time.perf_counter()
            facts = tell(observer, pump, event, number)
            (tested if facts else plain).append(1000 * (time.perf_counter() - begun))
    print(f"{np.median(plain):.2f} ms an event, {np.median(tested):.1f} ms with a test")
    assert len(tested) == 50
    assert np.median(plain) < 20
    assert np.median(tested) < 1000


def test_a_large_payload_is_one_verdict_on_bounded_rows(observer: DriftObserver, model: Path) -> None:
    pump = detector(model)
    ready(observer, pump)
    begun = time.perf_counter()
    facts = tell(observer, pump, asked(calm(10_000)), 1)
    assert time.perf_counter() - begun < 5
    assert streams(facts) == [("features", False)]
    assert facts is not None
    (verdict,) = facts.verdicts
    assert verdict.tested is not None
    assert verdict.tested.rows == WINDOW
    assert observer._memory._one("SELECT length(state) < 20000 FROM states") == (1,)
