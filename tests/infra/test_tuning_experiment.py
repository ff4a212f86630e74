"""Manifests taken apart: what Katib takes is taken, what one machine cannot do is refused and said how."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from homeostat.eventing.errors import Reject
from homeostat.infra.local.tuning_algorithms import ALGORITHMS
from homeostat.infra.local.tuning_experiment import Experiment, experiment
from tests.infra.experiments import AXES, MODULES, X_ONLY, manifest


def read(document: Mapping[str, Any]) -> Experiment:
    return experiment(document, MODULES)


def refused(document: Mapping[str, Any], modules: tuple[str, ...] = MODULES) -> str:
    with pytest.raises(Reject) as error:
        experiment(document, modules)
    return str(error.value)


def test_what_is_not_given_is_katibs_default() -> None:
    document = manifest("search")
    for name in ("maxTrialCount", "parallelTrialCount"):
        del document["spec"][name]
    document["spec"]["objective"]["additionalMetricNames"] = ["speed"]
    found = read(document)
    assert (found.parallel, found.max_trials, found.max_failed) == (3, None, None)
    assert found.objective.strategies == {"loss": "min", "speed": "min"}
    assert (found.collector.path, found.collector.json) == (None, False)
    assert found.early_stopping is None


def test_an_unknown_algorithm_is_refused_with_those_that_exist() -> None:
    told = refused(manifest("search", "pbt"))
    assert "spec.algorithm.algorithmName is 'pbt'" in told
    assert all(name in told for name in ALGORITHMS)


Change = Callable[[dict[str, Any]], Any]


def put(path: str, value: object) -> Change:
    """A change of one field of a manifest, `a.b.0.c`."""

    def change(document: dict[str, Any]) -> None:
        at: Any = document
        *way, last = path.split(".")
        for key in way:
            at = at[int(key)] if key.isdigit() else at[key]
        at[int(last) if last.isdigit() else last] = value

    return change


CONTAINER = "spec.trialTemplate.trialSpec.spec.template.spec.containers.0"
WRONG: Mapping[str, tuple[Change, str]] = {
    "api version": (put("apiVersion", "kubeflow.org/v1"), "kubeflow.org/v1beta1"),
    "name": (put("metadata.name", "A_b"), "metadata.name"),
    "long name": (put("metadata.name", "a" * 41), "40 characters"),
    "objective": (put("spec.objective.type", "smallest"), "maximize or minimize"),
    "no metric": (put("spec.objective.objectiveMetricName", ""), "objectiveMetricName"),
    "goal": (put("spec.objective.goal", "0.1"), "spec.objective.goal"),
    "strategy": (
        put("spec.objective.metricStrategies", [{"name": "loss", "value": "mean"}]),
        "metricStrategies[0]",
    ),
    "count": (put("spec.maxTrialCount", 0), "spec.maxTrialCount"),
    "too parallel": (put("spec.parallelTrialCount", 7), "no more than maxTrialCount, 6"),
    "no parameters": (put("spec.parameters", []), "spec.parameters"),
    "parameter type": (put("spec.parameters.0.parameterType", "text"), "int, double, categorical, discrete"),
    "no bounds": (put("spec.parameters.0.feasibleSpace", {"max": "1"}), "feasibleSpace.min is None"),
    "crossed bounds": (put("spec.parameters.0.feasibleSpace.max", "-1"), "no less than min"),
    "step": (put("spec.parameters.0.feasibleSpace.step", "0.0"), "step above 0"),
    "distribution": (put("spec.parameters.0.feasibleSpace.distribution", "zipf"), "logNormal"),
    "broken int": (put("spec.parameters.1.feasibleSpace.min", "1.5"), "a whole number"),
    "no list": (put("spec.parameters.2.feasibleSpace", {"list": []}), "list its values"),
    "setting": (put("spec.algorithm.algorithmSettings", [{"name": "warp", "value": "9"}]), "random_state"),
    "seed": (put("spec.algorithm.algorithmSettings", [{"name": "random_state", "value": "x"}]), "0 or more"),
    "early stopping": (put("spec.earlyStopping", {"algorithmName": "asha"}), "there is medianstop"),
    "collector": (put("spec.metricsCollectorSpec", {"collector": {"kind": "TensorFlowEvent"}}), "StdOut"),
    "filter": (
        put("spec.metricsCollectorSpec", {"source": {"filter": {"metricsFormat": ["(a"]}}}),
        "two groups",
    ),
    "other kind of trial": (put("spec.trialTemplate.trialSpec.kind", "PyTorchJob"), "batch/v1 Job"),
    "no such container": (put("spec.trialTemplate.primaryContainerName", "main"), "trial"),
    "memory": (put(f"{CONTAINER}.resources", {"limits": {"memory": "much"}}), "2Gi"),
    "undeclared placeholder": (put(f"{CONTAINER}.args", ["${trialParameters.y}"]), "without 'y'"),
    "unknown reference": (
        put("spec.trialTemplate.trialParameters.0.reference", "y"),
        "one of the parameters",
    ),
    "another type": (put("spec.objective", ["loss"]), "another type than Katib's CRD says"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_run_is_refused_with_the_field_and_a_mend(case: str) -> None:
    change, told = WRONG[case]
    document = copy.deepcopy(manifest("search", axes=AXES))
    assert read(document)
    change(document)
    assert told in refused(document)


def test_every_fault_is_told_at_once() -> None:
    document = manifest("search", "magic", maxTrialCount=-1)
    document["spec"]["objective"]["type"] = "any"
    told = refused(document)
    assert all(field in told for field in ("algorithmName", "maxTrialCount", "objective.type"))


@pytest.mark.parametrize(
    "command",
    [
        ["sh", "-c", "python -m tests.infra.tiny_trial"],
        ["python", "/opt/train.py"],
        ["python", "-c", "print(1)"],
        ["python", "-m", "os"],
        ["python", "-m", "tests.infra.tiny_trial;reboot"],
        ["python", "-m", "tests.infra./etc"],
        ["pythonic", "-m", "tests.infra.tiny_trial"],
        ["python", "-m"],
        [],
    ],
)
def test_nothing_but_homeostats_own_modules_is_run(command: list[str]) -> None:
    document = manifest("search", container={"command": command, "args": ["${trialParameters.x}"]})
    assert "one machine runs python -m tests.infra.… only" in refused(document)


def test_by_default_homeostats_modules_are_run() -> None:
    assert "python -m homeostat.… only" in refused(manifest("search"), ("homeostat.",))
    document = manifest(
        "search", container={"command": ["/usr/bin/python3.11", "-m", "homeostat.pipelines.trial"]}
    )
    assert experiment(document).template.command[2] == "homeostat.pipelines.trial"


def test_placeholders_are_filled_once_and_this_interpreter_runs_it() -> None:
    document = manifest(
        "search",
        arguments=["--who=${trialParameters.trialName}", "--to=/katib/m.log", "--plain=$HOME"],
        container={"env": [{"name": "HOMEOSTAT_X", "value": "x=${trialParameters.x}"}]},
    )
    command, environment = read(document).template.filled(
        {"x": "${trialParameters.trialName}"}, "search-1", "plant", {"/katib/m.log": "/here/m"}
    )
    assert command[0] == sys.executable
    assert command[3:] == [
        "--x=${trialParameters.trialName}",
        "--who=search-1",
        "--to=/here/m",
        "--plain=$HOME",
    ]
    assert environment == {"HOMEOSTAT_X": "x=${trialParameters.trialName}"}


def test_kubernetes_limits_are_read_and_the_rest_of_it_ignored() -> None:
    document = manifest(
        "search",
        container={"resources": {"limits": {"memory": "1.5Gi", "nvidia.com/gpu": 1}}, "volumeMounts": []},
        job={"activeDeadlineSeconds": 90, "backoffLimit": 4, "ttlSecondsAfterFinished": 1},
    )
    job = read(document).template
    assert (job.memory, job.seconds) == (3 * 2**29, 90)


NEEDS: Mapping[str, tuple[dict[str, Any], str]] = {
    "a grid without steps": (
        manifest(
            "s", "grid", axes={"x": {"parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}}
        ),
        "step for x",
    ),
    "more trials than places": (manifest("s", "grid", maxTrialCount=22), "21 places"),
    "cmaes on one axis": (manifest("s", "cmaes"), "two parameters or more"),
    "hyperband without its settings": (manifest("s", "hyperband"), "needs the setting r_l"),
    "a resource that is no parameter": (
        manifest("s", "hyperband", {"r_l": "9", "resource_name": "epochs"}),
        "one of the parameters, x",
    ),
    "another estimator": (
        manifest("s", "bayesianoptimization", {"base_estimator": "RF"}),
        "base_estimator: use one of GP",
    ),
}


@pytest.mark.parametrize("case", NEEDS)
def test_an_algorithm_says_what_it_needs(case: str) -> None:
    document, told = NEEDS[case]
    assert told in refused(document)


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        ("tpe", {"n_startup_trials": "5", "n_ei_candidates": "24", "random_state": "1", "gamma": "0.2"}),
        ("tpe", {"n_EI_candidates": "25", "prior_weight": "1.1"}),
        ("bayesianoptimization", {"base_estimator": "GP", "acq_func": "gp_hedge", "acq_optimizer": "auto"}),
        ("cmaes", {"restart_strategy": "ipop", "sigma": "0.5"}),
        ("hyperband", {"resource_name": "n", "eta": "2", "r_l": "2"}),
    ],
)
def test_katibs_settings_are_known(algorithm: str, settings: dict[str, str]) -> None:
    axes = {**X_ONLY, "n": AXES["n"]}
    assert set(read(manifest("search", algorithm, settings, axes)).settings) == set(settings)
