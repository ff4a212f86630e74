"""The drift host's memory: each row counts once, verdicts come when due, and a restart forgets nothing."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homeostat.eventing.codec import Context
from homeostat.eventing.errors import Reject, Retry
from homeostat.eventing.messages import InferenceRequest
from homeostat.functions.detect_drift import DriftFacts
from homeostat.functions.detector import Cause, Detector, Revision, Status
from homeostat.functions.spec import Data, Drift, Features, Spec
from homeostat.infra.observing import drift
from homeostat.infra.observing.drift import DriftObserver
from homeostat.infra.observing.drift_model import settings_of
from homeostat.models import artifact
from homeostat.models.drift_calibration import calibrate
from homeostat.models.drift_monitor import Monitor
from homeostat.models.fitting import fit
from homeostat.models.simulator import CHANNELS, simulate

WINDOW, EVERY = 200, 50


def rows(count: int, regime: str = "commissioned", seed: int = 1) -> list[list[float]]:
    frame = simulate(count, regime=regime, start=datetime(2026, 3, 1, 8), seed=seed)
    return frame[list(CHANNELS)].to_numpy().tolist()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a calibration beside it, as training leaves it."""
    folder = tmp_path_factory.mktemp("models") / "pump-1"
    taught = np.array(rows(2000, seed=9))
    fitted = fit("isolation-forest", taught, channels=CHANNELS, window=10)
    artifact.save(fitted, folder, {"version": "1"})
    calibrate(fitted, taught, settings=settings_of(detector(folder).spec)).save(folder)
    return folder


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "drift.db"


@pytest.fixture
def observer(db: Path) -> Iterator[DriftObserver]:
    one = DriftObserver(db)
    yield one
    one.close()


def detector(uri: Path | None, name: str = "pump", revision: str = "pump-1", **drift: Any) -> Detector:
    serving = Revision(name=revision, uri=str(uri), algorithm="isolation-forest", version="1")
    return Detector(
        name=name,
        spec=Spec(
            data=Data(uri="data/", channels=CHANNELS),
            drift=Drift(**{"window": WINDOW, "every": EVERY, **drift}),
        ),
        status=Status(serving=serving if uri else None),
        now=datetime(2026, 3, 1, tzinfo=UTC),
        cause=Cause(id="e", correlationid="e"),
    )


def context(identity: int | str, kind: str = InferenceRequest.type, time: str | None = None) -> Context:
    same = str(identity)
    return Context(id=same, source="http://kserve/", type=kind, subject="pump", correlationid=same, time=time)


def ask(
    observer: DriftObserver, to: Detector, block: list[list[float]], identity: int | str
) -> DriftFacts | None:
    """Once alibi-detect is loaded and the calibration there."""
    ready(observer, to)
    return observer.observe(InferenceRequest(instances=block), context(identity), to)


def ready(observer: DriftObserver, to: Detector) -> None:
    if to.status.serving:
        observer.models.calibration(to.status.serving, settings_of(to.spec))
        observer.models.settle()


def drifted(facts: DriftFacts | None) -> bool:
    """Of the one verdict that there is."""
    assert facts is not None
    (verdict,) = facts.verdicts
    return verdict.drifted


def of_file(db: Path, query: str) -> Any:
    connection = sqlite3.connect(db)
    (found,) = connection.execute(query).fetchone()
    connection.close()
    return found


def counted(db: Path) -> int:
    """How many rows all detectors together were asked about."""
    return of_file(db, "SELECT sum(upto) FROM monitors") or 0


def kept(db: Path) -> int:
    """How many rows lie in the file beside the states."""
    return (of_file(db, "SELECT sum(length(rows)) FROM pieces") or 0) // (4 * len(CHANNELS))


def feed(
    observer: DriftObserver, to: Detector, count: int, start: int = 0, regime: str = "commissioned"
) -> dict[int, DriftFacts]:
    """`count` events of 10 rows; the verdicts by the event's number."""
    block = rows(count * 10, regime, seed=start + 1)
    answers = {start + i: ask(observer, to, block[10 * i : 10 * i + 10], start + i) for i in range(count)}
    return {number: facts for number, facts in answers.items() if facts}


def test_verdicts_come_once_the_window_is_full_and_then_every_so_many_rows(
    observer: DriftObserver, model: Path
) -> None:
    verdicts = feed(observer, detector(model), 35)
    assert list(verdicts) == [19, 24, 29, 34]
    assert {one.revision for one in verdicts.values()} == {"pump-1"}
    assert not any(drifted(one) for one in verdicts.values())


@pytest.mark.parametrize("test", ["mmd", "ks"])
def test_another_regime_is_drift_and_its_channels_are_named(
    observer: DriftObserver, model: Path, test: str
) -> None:
    (facts,) = feed(observer, detector(model, test=test), 20, regime="rebuilt").values()
    (verdict,) = facts.verdicts
    assert verdict.drifted
    assert (verdict.on, verdict.test, facts.window, len(verdict.channels)) == ("features", test, WINDOW, 3)
    assert verdict.statistic > verdict.threshold


def test_a_verdict_names_the_rows_that_it_laid_against_each_other(
    observer: DriftObserver, model: Path
) -> None:
    """An event's last row is as old as the event; the others are a period apart."""
    pump = detector(model)
    ready(observer, pump)
    event = InferenceRequest(instances=rows(WINDOW))
    (verdict,) = observer.observe(event, context(1, time="2026-03-01T10:00:00Z"), pump).verdicts  # type: ignore[union-attr]
    assert verdict.tested is not None
    assert verdict.reference is not None
    assert (verdict.tested.rows, verdict.tested.start) == (WINDOW, "2026-03-01T09:56:41Z")
    assert verdict.tested.end == "2026-03-01T10:00:00Z"
    assert verdict.reference.rows > WINDOW
    assert verdict.correction


def test_slow_change_is_no_drift_to_a_detector_that_follows_it(observer: DriftObserver, model: Path) -> None:
    plain = detector(model)
    features = Features(baseline=400)
    follows = plain.model_copy(
        update={"name": "follows", "spec": plain.spec.model_copy(update={"features": features})}
    )
    block = np.array(rows(WINDOW))
    moved = (block + 1.5 * block.std(axis=0)).tolist()
    strict, lenient = ask(observer, plain, moved, 0), ask(observer, follows, moved, 1)
    assert strict is not None
    assert lenient is not None
    assert lenient.verdicts[0].threshold > strict.verdicts[0].threshold
    assert not drifted(lenient)
    assert drifted(ask(observer, follows, rows(WINDOW, "rebuilt"), 2))


def test_rows_with_gaps_are_left_out_where_the_revision_takes_them(
    observer: DriftObserver, db: Path, model: Path, tmp_path: Path
) -> None:
    holds = fit("sub-pca", np.array(rows(500, seed=9)), channels=CHANNELS, window=10, missing="hold:3")
    artifact.save(holds, tmp_path / "pump-2", {"version": "2"})
    block: list[list[Any]] = [[*one] for one in rows(10)]
    block[4][0] = None
    ask(observer, detector(tmp_path / "pump-2", "holds", "pump-2"), block, 0)
    ask(observer, detector(tmp_path / "pump-2", "holds", "pump-2"), [block[4]], 1)
    assert counted(db) == 9
    with pytest.raises(Reject):
        ask(observer, detector(model), block, 2)


def test_a_redelivered_event_counts_once_and_gets_its_verdict_again(
    observer: DriftObserver, db: Path, model: Path
) -> None:
    pump = detector(model)
    for _ in range(3):
        assert feed(observer, pump, 19) == {}
    assert counted(db) == 190
    last = rows(10, seed=50)
    first = ask(observer, pump, last, "last")
    assert first is not None
    assert ask(observer, pump, last, "last") == first


def test_an_event_is_known_by_source_id_and_type(observer: DriftObserver, db: Path, model: Path) -> None:
    event = InferenceRequest(instances=rows(10))
    for kind in (InferenceRequest.type, "org.kubeflow.serving.inference.other"):
        observer.observe(event, context(1, kind), detector(model))
    assert counted(db) == 20


def test_a_test_that_fails_leaves_nothing_behind(
    observer: DriftObserver, db: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pump = detector(model)
    feed(observer, pump, 19)
    with monkeypatch.context() as broken:
        broken.setattr(Monitor, "update", lambda *_: 1 / 0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                ask(observer, pump, rows(10), 19)
    assert counted(db) == 190
    assert ask(observer, pump, rows(10), 19) is not None
    assert counted(db) == 200


def test_a_restart_goes_on_where_the_last_process_was(db: Path, model: Path, tmp_path: Path) -> None:
    """To the bit: as one that was never stopped."""
    pump, whole = detector(model), DriftObserver(tmp_path / "whole.db")
    never_stopped = feed(whole, pump, 30)
    whole.close()
    told: dict[int, DriftFacts] = {}
    for start in (0, 7, 19, 22, 24):
        end = {0: 7, 7: 19, 19: 22, 22: 24, 24: 30}[start]
        one = DriftObserver(db)
        block = rows(300, seed=1)
        for number in range(start, end):
            facts = ask(one, pump, block[10 * number : 10 * number + 10], number)
            told |= {number: facts} if facts else {}
        one.close()
    assert list(told) == [19, 24, 29]
    assert told == never_stopped
    again = DriftObserver(db)
    assert ask(again, pump, rows(10), 19) == told[19]
    again.close()


def test_what_leaves_memory_comes_back_as_it_was(
    db: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "MONITORS", 2)
    observer = DriftObserver(db)
    block = rows(350, seed=3)
    names = [f"pump-{number}" for number in range(4)]
    told = [
        [ask(observer, detector(model, name), block[10 * i : 10 * i + 10], i) for i in range(35)]
        for name in names[:1]
    ]
    mixed: dict[str, list[DriftFacts | None]] = {name: [] for name in names[1:]}
    for i in range(35):
        for name, answers in mixed.items():
            answers.append(ask(observer, detector(model, name), block[10 * i : 10 * i + 10], i))
    observer.close()
    assert sum(one is not None for one in told[0]) == 4
    assert all(answers == told[0] for answers in mixed.values())


def test_another_revision_starts_afresh_and_old_events_stay_known(
    observer: DriftObserver, db: Path, model: Path
) -> None:
    feed(observer, detector(model), 25)
    fresh = detector(model, revision="pump-2")
    assert list(feed(observer, fresh, 20, start=25)) == [44]
    assert counted(db) == 200
    assert ask(observer, fresh, rows(10), 3) is None
    assert counted(db) == 200


def test_only_the_rows_that_a_test_may_need_are_kept(observer: DriftObserver, db: Path, model: Path) -> None:
    sizes = []
    for start in (0, 50, 100):
        feed(observer, detector(model), 50, start=start)
        sizes.append((kept(db), of_file(db, "SELECT length(state) FROM states")))
    assert all(rows <= EVERY and state < 40 * WINDOW * len(CHANNELS) for rows, state in sizes)


def test_one_large_request_is_one_verdict_on_its_last_rows(observer: DriftObserver, model: Path) -> None:
    block = rows(1000) + rows(WINDOW, "rebuilt")
    assert drifted(ask(observer, detector(model), block, 1))


def test_another_test_starts_afresh(observer: DriftObserver, model: Path) -> None:
    feed(observer, detector(model), 40)
    longer = detector(model, window=WINDOW + 100)
    assert list(feed(observer, longer, 35, start=40)) == [69, 74]


def test_detectors_do_not_share_rows(observer: DriftObserver, model: Path) -> None:
    for number in range(19):
        for name in ("pump", "fan"):
            assert ask(observer, detector(model, name), rows(10), number) is None


def test_v2_tensors_and_windows_give_the_same_rows_as_v1(db: Path, model: Path, tmp_path: Path) -> None:
    block = rows(WINDOW, seed=3)
    flat = [value for row in block for value in row]
    windows = [[*block[max(0, i - 4) : i], block[i]] for i in range(WINDOW)]
    windows = [[one[0]] * (5 - len(one)) + one for one in windows]
    v2 = {"name": "input-0", "shape": [WINDOW, len(CHANNELS)], "datatype": "FP64"}
    bodies = [
        InferenceRequest(instances=block),
        InferenceRequest(inputs=[{**v2, "data": flat}]),
        InferenceRequest(inputs=[{**v2, "data": block}]),
        InferenceRequest(instances=windows),
    ]
    verdicts = set()
    for number, body in enumerate(bodies):
        observer = DriftObserver(tmp_path / f"{number}.db")
        ready(observer, detector(model))
        verdicts.add(observer.observe(body, context(1), detector(model)))
        observer.close()
    assert len(verdicts) == 1
    assert None not in verdicts


@pytest.mark.parametrize(
    ("body", "field", "named"),
    [
        (InferenceRequest(), "data.instances", "Current"),
        (InferenceRequest(instances=[]), "data.instances", "shape"),
        (InferenceRequest(instances=[[1.0, 2.0]]), "data.instances", "[1, 2]"),
        (InferenceRequest(instances=[[1.0] * 8, [1.0] * 7]), "data.instances[1]", "7"),
        (InferenceRequest(instances=[[1.0] * 7 + ["high"]]), "data.instances[0][7]", "high"),
        (InferenceRequest(instances=[[1.0] * 7 + [None]]), "data.instances[0][7]", "None"),
        (InferenceRequest(inputs=[]), "data.inputs", "0 entries"),
        (InferenceRequest(inputs=["x"]), "data.inputs", "tensor"),
        (InferenceRequest(inputs=[{"name": "a"}]), "data.inputs.a.shape", "whole numbers"),
        (
            InferenceRequest(inputs=[{"name": "a", "shape": [2, 8], "datatype": "FP64", "data": [1.0]}]),
            "data.inputs.a.shape",
            "[2, 8]",
        ),
        (
            InferenceRequest(inputs=[{"name": "a", "shape": [1], "datatype": "BYTES", "data": ["x"]}]),
            "data.inputs.a.datatype",
            "BYTES",
        ),
    ],
)
def test_a_payload_without_rows_is_rejected_naming_field_value_and_mend(
    observer: DriftObserver, db: Path, model: Path, body: InferenceRequest, field: str, named: str
) -> None:
    with pytest.raises(Reject) as caught:
        observer.observe(body, context(1), detector(model))
    (fault,) = caught.value.faults
    assert fault.field == field
    assert named in str(fault)
    assert fault.mend.startswith("send n rows")
    assert counted(db) == 0


def test_without_a_serving_revision_there_is_nothing_to_compare_with(observer: DriftObserver) -> None:
    assert ask(observer, detector(None), rows(10), 1) is None


def test_an_artifact_that_is_missing_is_tried_again_later(observer: DriftObserver, tmp_path: Path) -> None:
    with pytest.raises(Retry, match="pump-1 cannot be loaded"):
        observer.observe(InferenceRequest(instances=rows(10)), context(1), detector(tmp_path / "gone"))


def test_many_threads_at_once_count_every_row_once(observer: DriftObserver, db: Path, model: Path) -> None:
    pump = detector(model, window=1000)
    blocks = [rows(10, seed=number) for number in range(30)]

    def deliver() -> None:
        for number, block in enumerate(blocks):
            ask(observer, pump, block, number)

    threads = [threading.Thread(target=deliver) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert counted(db) == 300
