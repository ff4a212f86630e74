"""One Service and one identity per function, with the rights that its commands need and no others."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from homeostat.eventing.gateway.storage import KEEPING
from homeostat.eventing.messages import (
    COMMANDS,
    Command,
    Promote,
    RollBack,
    ShiftTraffic,
    StartCanary,
    StartTraining,
    StartTuning,
)
from homeostat.functions import FUNCTIONS
from tests.cluster.rendered import OVERLAYS, base, container, everything, named, of, overlay, services

Right = tuple[str, str, str]
"""API group, resource, verb."""


def rights(group: str, resources: str, verbs: str) -> set[Right]:
    return {(group, one, verb) for one in resources.split() for verb in verbs.split()}


DECIDING = rights("homeostat.dev", "detectors", "get list") | rights(
    "homeostat.dev", "detectors/status", "update"
)
"""Snapshot and claim: every function, and no more than that for those that only say events."""
SERVING = rights("serving.kserve.io", "inferenceservices", "get create patch")
NEEDS: dict[type[Command], set[Right]] = {
    StartTraining: rights("pipelines.kubeflow.org", "pipelines experiments runs", "list create")
    | rights("pipelines.kubeflow.org", "runs", "terminate"),
    StartTuning: rights("kubeflow.org", "experiments", "get create") | rights("", "podtemplates", "get"),
    StartCanary: SERVING,
    ShiftTraffic: SERVING,
    Promote: SERVING,
    RollBack: SERVING,
}


def commands(function: str) -> set[type[Command]]:
    """The commands that a function's module makes, or the modules of functions/ that it calls upon."""
    module = inspect.getmodule(FUNCTIONS[function])
    assert module is not None
    made = {
        node.func.id
        for one in reached(module, set())
        for node in ast.walk(ast.parse(inspect.getsource(one)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    return {one for one in COMMANDS if one.__name__ in made}


def reached(module: ModuleType, seen: set[str]) -> Iterator[ModuleType]:
    seen.add(module.__name__)
    yield module
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
            name = f"homeostat.functions.{node.module}"
            if name not in seen:
                yield from reached(importlib.import_module(name), seen)


def functions(overlay: str) -> set[str]:
    """Those that an overlay serves: without Katib nobody reads Experiments."""
    return set(FUNCTIONS) - ({"finish-tuning"} if overlay == "minimal" else set())


def granted(role: dict[str, Any]) -> list[Right]:
    return [
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


def test_every_command_has_its_rights_named() -> None:
    assert set(NEEDS) == set(COMMANDS)


def test_every_command_is_made_by_some_function() -> None:
    assert set().union(*map(commands, FUNCTIONS)) == set(COMMANDS)


@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_there_is_one_service_and_one_identity_per_function_and_for_the_gateway(name: str) -> None:
    objects = everything()[name]
    ours = {*functions(name), "gateway"}
    assert services(objects).keys() == ours
    # Beside them: MLflow, its database, models' and training pods, without any right, and the
    # ApiServerSource's reader.
    rightless = {"mlflow", "mlflow-database", "predictor", "training"}
    assert of(objects, "ServiceAccount").keys() == ours | rightless | {"resources-reader"}
    assert of(objects, "Role").keys() == ours | {"resources-reader"}
    assert of(objects, "RoleBinding").keys() == ours | {"resources-reader"}
    assert not of(objects, "ClusterRole")
    assert not of(objects, "ClusterRoleBinding")


@pytest.mark.parametrize("function", [*FUNCTIONS, "gateway"])
def test_a_function_runs_as_itself_and_nobody_else_does(function: str) -> None:
    pod = services(base())[function]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == function
    assert pod["automountServiceAccountToken"] is True
    assert of(base(), "ServiceAccount")[function]["automountServiceAccountToken"] is False
    binding = of(base(), "RoleBinding")[function]
    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "Role",
        "name": function,
    }
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": function, "namespace": "homeostat"}]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_do_what_its_commands_need_and_no_more(function: str) -> None:
    found = granted(of(base(), "Role")[function])
    assert len(found) == len(set(found)), "a right twice"
    assert set(found) == DECIDING.union(*(NEEDS[one] for one in commands(function)))


def test_the_gateway_may_only_look_for_whose_an_object_is() -> None:
    assert granted(of(base(), "Role")["gateway"]) == [("homeostat.dev", "detectors", "list")]


def test_no_rule_names_everything() -> None:
    for role in of(base(), "Role").values():
        assert not any("*" in part for right in granted(role) for part in right), named(role)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_service_serves_the_function_of_its_name(function: str) -> None:
    assert container(services(base())[function])["args"][0] == function


@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_every_trigger_wakes_a_service_that_is_there_and_every_source_has_a_sink(name: str) -> None:
    objects = everything()[name]
    there = {(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in objects}
    triggers = of(objects, "Trigger")
    assert len(triggers) >= len(functions(name))
    for one in triggers.values():
        ref = one["spec"]["subscriber"]["ref"]
        assert (ref["apiVersion"], ref["kind"], ref["name"]) in there, named(one)
        assert one["spec"]["broker"] in of(objects, "Broker")
    for one in objects:
        if ref := one.get("spec", {}).get("sink", {}).get("ref"):
            assert (ref["apiVersion"], ref["kind"], ref["name"]) in there, named(one)


@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_every_service_is_told_its_sink(name: str) -> None:
    objects = everything()[name]
    (binding,) = of(objects, "SinkBinding").values()
    wanted = binding["spec"]["subject"]["selector"]["matchLabels"].items()
    for one in services(objects).values():
        assert wanted <= one["metadata"]["labels"].items(), named(one)


def test_the_gateway_keeps_objects_where_the_bucket_source_sends_them() -> None:
    (source,) = of(base(), "IntegrationSource").values()
    assert source["spec"]["sink"]["ref"]["name"] == "gateway"
    paths = {f"/gateway/storage/{one}" for one in KEEPING}
    assert source["spec"]["sink"]["uri"] in paths


# --- scaling -----------------------------------------------------------------------------------------------
def scale(objects: list[Any], function: str) -> tuple[int, int]:
    annotations = services(objects)[function]["spec"]["template"]["metadata"]["annotations"]
    least, most = (annotations.get(f"autoscaling.knative.dev/{one}-scale", "0") for one in ("min", "max"))
    return int(least), int(most)


@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_what_keeps_rows_in_memory_is_warm_and_alone(name: str) -> None:
    for function in ("detect-drift", "take-label", "score-stream"):
        assert scale(everything()[name], function) == (1, 1)


@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_no_service_grows_without_bound_nor_takes_any_number_of_requests(name: str) -> None:
    for function, one in services(everything()[name]).items():
        least, most = scale(everything()[name], function)
        assert least <= most
        assert 1 <= most <= 10
        assert one["spec"]["template"]["spec"]["containerConcurrency"] > 0


def test_production_has_a_budget_for_exactly_what_has_two_replicas() -> None:
    objects = overlay("production")
    two = {one for one in services(objects) if scale(objects, one)[0] > 1}
    two |= {one for one, found in of(objects, "Deployment").items() if found["spec"]["replicas"] > 1}
    assert two == of(objects, "PodDisruptionBudget").keys()
    assert two == {"gateway", "plan-retraining", "roll-out", "mlflow"}
