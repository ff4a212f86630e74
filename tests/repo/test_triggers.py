"""eventing/triggers.yaml wakes every function on exactly what its decision's annotation says."""

from __future__ import annotations

from pathlib import Path

import pytest

import homeostat.eventing
from homeostat.eventing.broker.manifests import Trigger, read
from homeostat.eventing.messages import EVENTS, ExperimentAdded, ExperimentChanged
from homeostat.functions import FUNCTIONS, observes, wakes_on
from homeostat.functions.canary import CanaryFacts
from homeostat.functions.detect_drift import DriftFacts
from homeostat.functions.detector import Batch
from homeostat.functions.score_stream import StreamFacts
from homeostat.functions.take_label import QualityFacts
from homeostat.functions.work import WorkFacts

FOLDER = Path(homeostat.eventing.__file__).parent
TRIGGERS: tuple[Trigger, ...] = tuple(read([FOLDER / "broker.yaml", FOLDER / "triggers.yaml"]).triggers)


def test_every_function_has_one_trigger_of_its_name() -> None:
    assert sorted(one.subscriber.name or "" for one in TRIGGERS) == sorted(FUNCTIONS)
    assert all(one.name.endswith(one.subscriber.name or "?") for one in TRIGGERS)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_wakes_on_exactly_its_annotation(function: str) -> None:
    (trigger,) = (one for one in TRIGGERS if one.subscriber.name == function)
    woken = {kind.type for kind in EVENTS if trigger.filter(attributes(kind.type))}
    assert woken == {kind.type for kind in wakes_on(FUNCTIONS[function])}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_wakes_on_nothing_else(function: str) -> None:
    (trigger,) = (one for one in TRIGGERS if one.subscriber.name == function)
    for near in [kind.type for kind in wakes_on(FUNCTIONS[function])]:
        assert not trigger.filter(attributes(near + ".more"))
        assert not trigger.filter(attributes(near[:-1]))


def test_what_a_decision_needs_measured_is_read_from_its_annotation() -> None:
    needed = {name: observes(one) for name, one in FUNCTIONS.items()}
    assert needed == {
        "receive-data": Batch,
        "detect-drift": DriftFacts,
        "answer-alert": None,
        "take-label": QualityFacts,
        "plan-retraining": WorkFacts,
        "finish-tuning": None,
        "judge-candidate": None,
        "roll-out": CanaryFacts,
        "score-stream": StreamFacts,
    }


@pytest.mark.parametrize("kind", [ExperimentAdded.type, ExperimentChanged.type])
def test_what_an_api_server_says_of_other_kinds_wakes_nobody(kind: str) -> None:
    for thing in ({"kind": "InferenceService"}, {"kind": ""}, {}):
        seen = {name: value for name, value in attributes(kind).items() if name != "kind"} | thing
        assert not any(one.filter(seen) for one in TRIGGERS)


def attributes(kind: str) -> dict[str, str]:
    """As its source sends it: an ApiServerSource says of which kind the object is."""
    found = {"id": "1", "source": "/test", "specversion": "1.0", "type": kind, "subject": "pump"}
    return {**found, "kind": "Experiment"} if kind.startswith("dev.knative.apiserver.") else found
