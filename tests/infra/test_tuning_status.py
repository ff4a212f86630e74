"""The status of an Experiment, by the rules of Katib's controller."""

from __future__ import annotations

from typing import Any

import pytest

from homeostat.infra.local.tuning_experiment import Experiment, experiment
from homeostat.infra.local.tuning_state import Trial, trial_name
from homeostat.infra.local.tuning_status import created, failed, state_of, updated
from tests.cluster.kinds import wrong
from tests.infra.experiments import MODULES, conditions, manifest, strange


def begun(**spec: Any) -> tuple[dict[str, Any], Experiment]:
    document = created(manifest("search", **spec), "homeostat")
    return document, experiment(document, MODULES)


def trials(*given: tuple[str, float | None]) -> list[Trial]:
    return [
        Trial(
            f"search-{number}", number, number, {"x": value or 0.0}, {"x": f"{value}"}, condition, value, []
        )
        for number, (condition, value) in enumerate(given)
    ]


def test_a_new_experiment_is_created_and_nothing_else() -> None:
    document, _ = begun()
    assert conditions(document) == {"Created": ("True", "ExperimentCreated")}
    assert document["metadata"]["resourceVersion"] == "1"
    assert state_of(document) == "running"
    assert wrong(document) == []
    assert strange(document) == []


def test_a_look_that_finds_nothing_new_is_no_new_version() -> None:
    document, what = begun()
    first = updated(document, what, trials(("Running", None)))
    again = updated(first, what, trials(("Running", None)))
    assert (again, first["metadata"]["resourceVersion"]) == (first, "2")


OK, NONE = ("Succeeded", 0.5), ("MetricsUnavailable", None)
FAILED, RUNNING = ("Failed", None), ("Running", None)
VERDICTS = [
    ({}, [RUNNING, OK], ("Running", "ExperimentRunning")),
    ({}, [OK] * 6, ("Succeeded", "ExperimentMaxTrialsReached")),
    ({}, [FAILED] * 6, ("Succeeded", "ExperimentMaxTrialsReached")),
    ({"maxFailedTrialCount": 2}, [FAILED, OK], ("Running", "ExperimentRunning")),
    ({"maxFailedTrialCount": 2}, [FAILED, NONE], ("Failed", "ExperimentFailed")),
    ({"maxFailedTrialCount": 0}, [OK], ("Running", "ExperimentRunning")),
    ({"maxFailedTrialCount": 0}, [OK, FAILED], ("Failed", "ExperimentFailed")),
    ({"maxFailedTrialCount": 6}, [FAILED] * 6, ("Failed", "ExperimentFailed")),
    ({"goal": 0.5}, [FAILED, OK, RUNNING], ("Succeeded", "ExperimentGoalReached")),
    ({"goal": 0.5, "maxFailedTrialCount": 1}, [FAILED, OK], ("Succeeded", "ExperimentGoalReached")),
    ({"goal": 0.4}, [OK], ("Running", "ExperimentRunning")),
    ({"goal": 0.5}, [("EarlyStopped", 0.1)], ("Succeeded", "ExperimentGoalReached")),
    ({"goal": 0.5}, [("Failed", 0.1)], ("Running", "ExperimentRunning")),
]


@pytest.mark.parametrize(("given", "ended", "verdict"), VERDICTS)
def test_the_verdict_is_katibs(
    given: dict[str, Any], ended: list[tuple[str, float | None]], verdict: tuple[str, str]
) -> None:
    spec = dict(given)
    if "goal" in spec:
        spec["objective"] = {"type": "minimize", "objectiveMetricName": "loss", "goal": spec.pop("goal")}
    found = updated(*begun(**spec), trials(*ended))
    last = found["status"]["conditions"][-1]
    assert (last["type"], last["status"], last["reason"]) == (verdict[0], "True", verdict[1])
    assert ("completionTime" in found["status"]) == (verdict[0] != "Running")
    assert strange(found) == []


def test_a_search_without_more_to_try_ends_when_its_last_trial_has() -> None:
    document, what = begun()
    assert state_of(updated(document, what, trials(OK, RUNNING), exhausted=True)) == "running"
    found = updated(document, what, trials(OK, OK), exhausted=True)
    assert conditions(found)["Succeeded"] == ("True", "ExperimentSuggestionEndReached")


def test_trials_are_counted_and_listed_by_their_condition() -> None:
    document, what = begun()
    found = updated(
        document, what, trials(OK, FAILED, RUNNING, NONE, ("Killed", None), ("EarlyStopped", 0.9))
    )
    status = found["status"]
    assert status["trials"] == 6
    for names, count in (
        ("succeededTrialList", "trialsSucceeded"),
        ("failedTrialList", "trialsFailed"),
        ("runningTrialList", "trialsRunning"),
        ("metricsUnavailableTrialList", "trialMetricsUnavailable"),
        ("killedTrialList", "trialsKilled"),
        ("earlyStoppedTrialList", "trialsEarlyStopped"),
    ):
        assert (len(status[names]), status[count]) == (1, 1)


@pytest.mark.parametrize(("kind", "best"), [("minimize", "search-2"), ("maximize", "search-1")])
def test_the_best_trial_is_the_first_of_the_best(kind: str, best: str) -> None:
    objective = {"type": kind, "objectiveMetricName": "loss"}
    given = [("Succeeded", value) for value in (2.0, 3.0, 1.0, 1.0, 3.0)]
    found = updated(*begun(objective=objective), trials(*given))
    assert found["status"]["currentOptimalTrial"]["bestTrialName"] == best


def test_a_search_that_cannot_go_on_keeps_what_it_had() -> None:
    document, what = begun()
    running = updated(document, what, trials(OK, RUNNING))
    found = failed(running, "it broke")
    assert conditions(found)["Running"][0] == "False"
    assert found["status"]["conditions"][-1]["message"] == "it broke"
    assert found["status"]["currentOptimalTrial"] == running["status"]["currentOptimalTrial"]
    assert int(found["metadata"]["resourceVersion"]) == int(running["metadata"]["resourceVersion"]) + 1


def test_a_trial_has_the_same_name_whenever_it_is_asked_for() -> None:
    names = [trial_name("search", "some-uid", number) for number in range(1000)]
    assert len(set(names)) == 1000
    assert names[7] == trial_name("search", "some-uid", 7)
    assert all(len(name) == len("search-") + 8 for name in names)
