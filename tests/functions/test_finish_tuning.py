"""How a search ends: read once from the Experiment that Katib changed."""

from __future__ import annotations

from typing import Any

import pytest

from homeostat.eventing.messages import (
    EvalPassed,
    ExperimentAdded,
    ExperimentChanged,
    TuningCompleted,
    TuningFailed,
)
from homeostat.functions import finish_tuning, judge_candidate, plan_retraining
from homeostat.functions.detector import Detector, Tuning
from tests.functions.detectors import (
    HOUR,
    NOON,
    cause,
    completed,
    detector,
    drifted,
    later,
    only,
    remembered,
    revision,
    spec,
)


def tuning() -> Tuning:
    return Tuning(
        name="pump-tune-1",
        algorithm="isolation-forest",
        started=NOON,
        reason="drift",
        trigger="drift",
        cause=cause("drift"),
    )


def experiment(*conditions: dict[str, Any], name: str = "pump-tune-1", **status: Any) -> ExperimentChanged:
    document = {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name, "labels": {"homeostat.dev/detector": "pump"}},
        "spec": {"objective": {"objectiveMetricName": "vus_pr"}},
        "status": {"conditions": list(conditions), **status},
    }
    return ExperimentChanged(experiment=document)


def condition(kind: str, status: str = "True", **words: str) -> dict[str, Any]:
    return {"type": kind, "status": status, **words}


RUNNING = condition("Running", "False")
SUCCEEDED = condition("Succeeded", reason="ExperimentMaxTrialsReached", message="max trials reached")
BEST = {
    "bestTrialName": "pump-tune-1-abc",
    "parameterAssignments": [
        {"name": "trees", "value": "200"},
        {"name": "gamma", "value": "0.5"},
        {"name": "kind", "value": "conv"},
    ],
    "observation": {
        "metrics": [
            {"name": "latency_ms", "min": "1", "max": "9", "latest": "1"},
            {"name": "vus_pr", "min": "0.1", "max": "0.83", "latest": "0.8"},
        ]
    },
}


def finish(event: Any, one: Detector) -> list[Any]:
    return list(finish_tuning.decide(event, one))


def test_the_best_trial_is_told_once() -> None:
    one = detector(tuning=tuning())
    event = experiment(RUNNING, SUCCEEDED, currentOptimalTrial=BEST, trialsSucceeded=18, trialsEarlyStopped=1)
    messages = finish(event, one)
    told = only(TuningCompleted, messages)
    assert told.parameters == {"trees": 200, "gamma": 0.5, "kind": "conv"}
    assert (told.experiment, told.algorithm) == ("pump-tune-1", "isolation-forest")
    assert (told.metric, told.value, told.trials) == ("vus_pr", 0.83, 19)
    one = later(one, messages)
    assert one.status.tuning is not None
    assert one.status.phase == "Tuning", "until what was found is trained with"
    assert finish(event, one) == []
    assert finish(ExperimentAdded(experiment=event.experiment), one) == []


def test_what_ended_while_nobody_watched_is_told_when_somebody_does() -> None:
    event = experiment(SUCCEEDED, currentOptimalTrial=BEST)
    assert only(
        TuningCompleted, finish(ExperimentAdded(experiment=event.experiment), detector(tuning=tuning()))
    )


def test_a_failure_is_told_with_katibs_words() -> None:
    failed = condition("Failed", reason="ExperimentFailed", message="Experiment has failed")
    one = detector(tuning=tuning())
    messages = finish(experiment(RUNNING, failed, currentOptimalTrial=BEST), one)
    assert only(TuningFailed, messages).error == "ExperimentFailed: Experiment has failed"
    assert "ExperimentFailed" in remembered(messages, one).message
    assert finish(experiment(failed), later(one, messages)) == []


def test_a_success_without_a_trial_that_was_measured_is_a_failure() -> None:
    best = {"bestTrialName": "", "parameterAssignments": None, "observation": {"metrics": None}}
    for status in ({}, {"currentOptimalTrial": best}):
        messages = finish(experiment(SUCCEEDED, **status), detector(tuning=tuning()))
        assert "without a trial that could be measured" in only(TuningFailed, messages).error


def test_a_value_that_was_not_measured_is_none() -> None:
    metrics = [{"name": "vus_pr", "min": "unavailable", "max": "unavailable", "latest": "unavailable"}]
    best = {**BEST, "observation": {"metrics": metrics}}
    messages = finish(experiment(SUCCEEDED, currentOptimalTrial=best), detector(tuning=tuning()))
    assert only(TuningCompleted, messages).value is None


@pytest.mark.parametrize(
    "event",
    [
        experiment(),
        experiment(condition("Running"), currentOptimalTrial=BEST),
        experiment(condition("Succeeded", "False"), currentOptimalTrial=BEST),
        experiment(SUCCEEDED, name="pump-tune-0", currentOptimalTrial=BEST),
        ExperimentChanged(experiment={}),
        ExperimentChanged(experiment={"kind": "Experiment", "metadata": None, "status": "odd"}),
        ExperimentChanged(experiment={"kind": "InferenceService", "metadata": {"name": "pump-tune-1"}}),
    ],
)
def test_everything_else_says_nothing(event: ExperimentChanged) -> None:
    assert finish(event, detector(tuning=tuning())) == []


def test_an_experiment_that_nobody_waits_for_says_nothing() -> None:
    assert finish(experiment(SUCCEEDED, currentOptimalTrial=BEST), detector()) == []


def test_the_whole_story_from_drift_to_a_candidate() -> None:
    asked = spec(tuning={"when": "drift-persists"})
    one = detector(NOON + HOUR, asked=asked, serving=revision(trigger="drift", promoted=NOON))
    one = later(one, plan_retraining.decide(drifted(), one))
    assert one.status.tuning is not None
    event = experiment(SUCCEEDED, name=one.status.tuning.name, currentOptimalTrial=BEST)
    messages = finish(event, one)
    one = later(one, messages, HOUR)
    one = later(one, plan_retraining.decide(only(TuningCompleted, messages), one), HOUR)
    assert one.status.run is not None
    messages = list(judge_candidate.decide(completed(one.status.run.name), one))
    assert only(EvalPassed, messages)
