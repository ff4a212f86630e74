"""What is only observed, an Experiment's change or that time passed: whose it is, what it goes back to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from homeostat.eventing.messages import (
    CanaryTick,
    ExperimentChanged,
    StartTuning,
    TrainingFailed,
    TuningCompleted,
)
from homeostat.eventing.wire import WireEvent
from homeostat.functions.detector import Cause, Run, Status, Tuning
from homeostat.functions.spec import Spec
from homeostat.functions.work import GRACE, WorkFacts
from homeostat.infra.local.executors import Machine, bound
from homeostat.infra.local.observers import observers
from homeostat.infra.local.router import Router
from homeostat.infra.local.serving import Serving
from homeostat.infra.local.settings import Settings
from homeostat.infra.local.store import Store
from homeostat.infra.outcome import Outcome
from homeostat.infra.shell import Host, handle

NOW = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
DRIFT = Cause(id="drift-1", correlationid="first", hops=3)
TUNING = Tuning(name="pump-tune-1", algorithm="gan", started=NOW, reason="drift", cause=DRIFT)
SPEC = Spec.model_validate({"data": {"uri": "/d/", "channels": ["a"]}})


class Home:
    """A store with the Detector `pump`, and what is emitted."""

    def __init__(self, folder: Path, **status: Any) -> None:
        self.store, self.told, self.now = Store(folder / "detectors.db"), list[WireEvent](), NOW
        self.store.apply("pump", SPEC)
        found = self.store.snapshot("pump", NOW, DRIFT)
        assert found is not None
        detector, version = found
        changed = detector.model_copy(update={"status": Status(**status)})
        assert self.store.commit("pump", version, changed.status, "key", Outcome(changed, [], []))

    async def emit(self, events: Sequence[WireEvent]) -> None:
        self.told += events

    def handle(self, function: str, event: WireEvent, **eyes: Any) -> None:
        host = Host(self.store, self.emit, observers=eyes.get("observers", {}), clock=lambda: self.now)
        asyncio.run(handle(function, event, host))

    @property
    def status(self) -> Status:
        found = self.store.snapshot("pump", NOW, DRIFT)
        assert found is not None
        return found[0].status


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, tuning=TUNING)


def changed(labels: dict[str, str], kind: str = "Experiment", identity: str = "e1") -> WireEvent:
    """As an ApiServerSource sends it: the subject is the object's path, and no Detector's name."""
    document = {
        "kind": kind,
        "metadata": {"name": "pump-tune-1", "labels": labels},
        "spec": {"objective": {"objectiveMetricName": "vus_pr"}},
        "status": {
            "conditions": [{"type": "Succeeded", "status": "True"}],
            "currentOptimalTrial": {
                "parameterAssignments": [{"name": "latent", "value": "4"}],
                "observation": {"metrics": [{"name": "vus_pr", "max": "0.8"}]},
            },
        },
    }
    return WireEvent(
        {
            "specversion": "1.0",
            "id": identity,
            "source": "https://10.96.0.1:443",
            "type": ExperimentChanged.type,
            "subject": "/apis/kubeflow.org/v1beta1/namespaces/homeostat/experiments/pump-tune-1",
            "kind": kind,
        },
        orjson.dumps(document),
    )


OURS = {"homeostat.dev/detector": "pump"}


def test_an_experiment_is_its_labels_detectors_and_goes_back_to_what_was_tuned_for(home: Home) -> None:
    home.handle("finish-tuning", changed(OURS))
    (told,) = home.told
    assert (told.attributes["type"], told.attributes["subject"]) == (TuningCompleted.type, "pump")
    assert told.attributes["causationid"] == "drift-1"
    assert (told.attributes["correlationid"], told.attributes["hops"]) == ("first", "4")


def test_a_change_that_is_told_again_under_another_id_says_nothing_more(home: Home) -> None:
    for identity in ("e1", "e1", "e2"):
        home.handle("finish-tuning", changed(OURS, identity=identity))
    assert len(home.told) == 1


@pytest.mark.parametrize("labels", [{}, {"homeostat.dev/detector": ""}, {"app": "other"}])
@pytest.mark.parametrize("kind", ["Experiment", "InferenceService"])
def test_somebody_elses_object_is_acknowledged_and_ignored(
    home: Home, labels: dict[str, str], kind: str
) -> None:
    before = home.status
    home.handle("finish-tuning", changed(labels, kind))
    assert home.told == []
    assert home.status == before


def test_an_inference_service_with_our_label_is_ignored_too(home: Home) -> None:
    home.handle("finish-tuning", changed(OURS, "InferenceService"))
    assert home.told == []


class Engine:
    """A machine's engine that has forgotten everything."""

    def states(self) -> dict[str, str]:
        return {}


def tick(identity: str) -> WireEvent:
    return WireEvent({"specversion": "1.0", "id": identity, "source": "/ping", "type": CanaryTick.type})


def test_a_run_that_vanished_from_this_machine_ends_and_its_failure_goes_back_to_its_cause(
    tmp_path: Path,
) -> None:
    run = Run(name="pump-1", started=NOW - timedelta(minutes=5), reason="rows", cause=DRIFT)
    home = Home(tmp_path, run=run)
    eyes = observers(Settings(state=tmp_path), Serving(tmp_path, Router()), _no_stream(), runs=Engine())
    home.handle("plan-retraining", tick("t1"), observers={WorkFacts: eyes[WorkFacts]})
    assert home.told == []
    home.now += GRACE
    home.handle("plan-retraining", tick("t2"), observers={WorkFacts: eyes[WorkFacts]})
    (told,) = home.told
    assert told.attributes["type"] == TrainingFailed.type
    assert told.attributes["causationid"] == "drift-1"
    assert "vanished" in orjson.loads(told.data or b"")["error"]
    assert home.status.run is None


def _no_stream() -> Any:
    class Stream:
        observe = None

    return Stream()


def test_a_machine_hands_a_search_to_its_engine(tmp_path: Path) -> None:
    home, documents = Home(tmp_path, tuning=TUNING), list[Any]()

    class Experiments:
        async def submit(self, document: Any) -> None:
            documents.append(document)

    machine = Machine(home.store, None, None, Experiments())  # type: ignore[arg-type]
    found = home.store.snapshot("pump", NOW, DRIFT)
    assert found is not None
    command = StartTuning(
        experiment="pump-tune-1", detector="pump", algorithm="gan", data=("/d/a.csv",), champion=None
    )
    asyncio.run(bound(machine)[StartTuning](command, found[0]))
    (document,) = documents
    assert document["metadata"]["name"] == "pump-tune-1"
    assert document["metadata"]["labels"]["homeostat.dev/detector"] == "pump"
