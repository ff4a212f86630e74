"""The cluster home goes in: definitions and overlays applied on the server's side, unknown fields refused,
Detectors held to their rules. Against the API server in this process, and a real one where there is one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from homeostat.eventing.errors import Retry
from homeostat.functions.spec import Spec
from homeostat.infra.cluster import client
from homeostat.infra.cluster.client import Objects
from homeostat.infra.cluster.crd import crd
from tests.cluster.callers import BASE, NAMESPACE, Server, detector, eventually, objects
from tests.cluster.detector_documents import documents
from tests.cluster.kinds import vendors
from tests.cluster.kube_apiserver import KubeApiServer
from tests.cluster.rendered import OVERLAYS, of, overlay
from tests.cluster.sending import Unwelcome, apply, said_yes

EXAMPLES = sorted((BASE / "examples").glob("*.yaml"))
DETECTORS = f"/apis/homeostat.dev/v1alpha1/namespaces/{NAMESPACE}/detectors"
SPECS = Spec.model_json_schema()
ACCOUNT = {
    "apiVersion": "v1",
    "kind": "ServiceAccount",
    "metadata": {"name": "roll-out", "namespace": NAMESPACE},
}
MINIMAL: dict[str, Any] = {"data": {"uri": "s3://plant/pump/", "channels": ["a"]}}


@pytest.fixture
def installed(cluster: Server) -> Iterator[Server]:
    """Without what an overlay left: a StatefulSet of another one cannot be changed into this one's."""
    yield cluster
    for name in OVERLAYS:
        for one in overlay(name):
            if one["kind"] not in ("Namespace", "CustomResourceDefinition"):
                cluster.remove(one["kind"], one["metadata"]["name"])


def admin(server: Server) -> Any:
    return server.http(server.admin)


def test_every_definition_is_taken_others_and_ours(cluster: Server) -> None:
    """A real one lets nothing in that is no structural schema, and reckons what our rules cost."""
    with admin(cluster) as http:
        if not isinstance(cluster, KubeApiServer):  # which has them since it started
            apply(http, *vendors())
        apply(http, crd())
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        known = {one["metadata"]["name"] for one in said_yes(http.get(path))["items"]}
    assert {one["metadata"]["name"] for one in (*vendors(), crd())} <= known


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_goes_in_whole_and_a_second_time_changes_nothing(installed: Server, name: str) -> None:
    with admin(installed) as http:
        first = apply(http, *overlay(name))
        again = apply(http, *overlay(name))
    versions = [[one["metadata"]["resourceVersion"] for one in some] for some in (first, again)]
    assert versions[0] == versions[1]
    kept = installed.get("Role", "roll-out")
    assert kept is not None
    assert kept["rules"] == of(overlay(name), "Role")["roll-out"]["rules"]


@pytest.mark.parametrize(
    ("kind", "name", "path"),
    [
        ("NetworkPolicy", "services", "spec.ingres"),
        ("Deployment", "mlflow", "spec.template.spec.containers.0.environment"),
        ("ClusterServingRuntime", "homeostat", "spec.modelFormats"),
        ("ClusterTrainingRuntime", "homeostat", "spec.mlPolicy.nodes"),
        ("PodMonitor", "services", "spec.endpoints"),
        ("ServiceAccount", "roll-out", "automount"),
        ("RoleBinding", "roll-out", "role"),
    ],
)
def test_a_field_that_nobody_knows_keeps_an_object_out(
    installed: Server, kind: str, name: str, path: str
) -> None:
    wrong = copy.deepcopy(of(overlay("dev"), kind)[name])
    *way, last = path.split(".")
    place: Any = wrong
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[last] = "x"
    with admin(installed) as http, pytest.raises(Unwelcome, match=last):
        apply(http, wrong)


# --- Detectors -------------------------------------------------------------------------------------------
def tried(server: Server, spec: Any) -> str:
    """What the API server says against a Detector of that spec; nothing is stored."""
    with admin(server) as http:
        query = {"dryRun": "All", "fieldValidation": "Strict"}
        answer = http.post(DETECTORS, json={**detector("tried"), "spec": spec}, params=query)
    assert answer.status_code in (200, 201, 400, 422), answer.text
    return "" if answer.is_success else answer.text


WRONG = [
    ("retrain", {"cooldwon": "1m"}, "cooldwon"),
    ("retrain", {"cooldown": "soon"}, "spec.retrain.cooldown"),
    ("retrain", {"min_new_rows": 0}, "spec.retrain.min_new_rows"),
    ("gate", {"min": 1.1}, "spec.gate.min"),
    ("gate", {"max_latency_ms": 0}, "spec.gate.max_latency_ms"),
    ("data", {"uri": "x", "channels": []}, "spec.data.channels"),
    ("candidates", ["isolation_forest"], "spec.candidates"),
    ("mode", "auto", "spec.mode"),
    ("replicas", 3, "replicas"),
]
BY_RULE = [
    ("features", {"baseline": 1}, "median of one row"),
    ("canary", {"steps": [50, 25]}, "rise"),
    ("canary", {"steps": [5, 5]}, "rise"),
]
"""What only a rule (CEL) refuses."""


@pytest.mark.parametrize(("section", "value", "said"), WRONG)
def test_a_wrong_detector_is_refused_by_its_field(
    cluster: Server, section: str, value: Any, said: str
) -> None:
    assert said in tried(cluster, {**MINIMAL, section: value})


@pytest.mark.parametrize(("section", "value", "said"), BY_RULE)
def test_a_rule_refuses_what_a_schema_cannot(
    real: KubeApiServer, section: str, value: Any, said: str
) -> None:
    assert said in tried(real, {**MINIMAL, section: value})


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_example_is_taken_as_it_lies(cluster: Server, file: Path) -> None:
    for document in yaml.safe_load_all(file.read_text()):
        with admin(cluster) as http:
            document["metadata"]["namespace"] = NAMESPACE
            apply(http, document)


CHECKS = settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)


def drawn(data: st.DataObject) -> tuple[dict[str, Any], bool]:
    """A Detector's spec, one section of it drawn, and whether the model takes it."""
    name = data.draw(st.sampled_from(sorted(SPECS["properties"])))
    spec = {**MINIMAL, name: data.draw(documents(SPECS["properties"][name], SPECS["$defs"]))}
    try:
        Spec.model_validate(spec)
    except ValidationError:
        return spec, False
    return spec, True


@CHECKS
@given(st.data())
def test_what_the_model_takes_the_server_takes(cluster: Server, data: st.DataObject) -> None:
    spec, good = drawn(data)
    if good:
        assert not tried(cluster, spec)


@CHECKS
@given(st.data())
def test_a_real_server_takes_what_the_model_takes_and_nothing_else(
    real: KubeApiServer, data: st.DataObject
) -> None:
    spec, good = drawn(data)
    assert bool(tried(real, spec)) == (not good), spec


def test_people_read_a_detector_in_one_line(real: KubeApiServer) -> None:
    """What `kubectl get detectors` prints is the server's own table."""
    real.clear()
    status: dict[str, Any] = {"phase": "Serving", "serving": None, "conditions": []}
    real.put({**detector("pump"), "status": status})
    with admin(real) as http:
        answer = http.get(DETECTORS, headers={"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    table = said_yes(answer)
    heads = [one["name"] for one in table["columnDefinitions"] if one["priority"] == 0]
    assert heads[0] == "Name"
    assert {"Phase", "Revision", "Canary"} <= {one.split()[0].title() for one in heads}
    assert "Serving" in table["rows"][0]["cells"]


# --- tokens ----------------------------------------------------------------------------------------------
def test_a_token_is_its_accounts_until_that_is_gone(cluster: Server) -> None:
    cluster.put(ACCOUNT)
    with cluster.http(cluster.token(NAMESPACE, "roll-out")) as http:
        assert http.get(DETECTORS).status_code == 200
        assert http.delete(f"{DETECTORS}/pump").status_code == 403
        cluster.remove("ServiceAccount", "roll-out")
        # A real one believes a token that was good for ten seconds more.
        eventually(lambda: http.get(DETECTORS).status_code == 401)


def test_a_token_for_others_opens_nothing_here(cluster: Server) -> None:
    cluster.put(ACCOUNT)
    spec = {"audiences": ["pipelines.kubeflow.org"], "expirationSeconds": 7200}
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/roll-out/token"
    with admin(cluster) as http:
        token = said_yes(http.post(path, json=asked))["status"]["token"]
    with cluster.http(token) as http:
        assert http.get(DETECTORS).status_code == 401


def test_the_server_comes_back_with_what_it_stored(cluster: Server) -> None:
    """A real one answers 429 until it has read its storage; our client asks again."""
    asked = objects(cluster, None)
    with cluster.away(), pytest.raises(Retry, match="no answer"):
        asked.list(client.DETECTORS)
    asked = Objects(cluster.http(cluster.admin), NAMESPACE)
    assert [one["metadata"]["name"] for one in asked.list(client.DETECTORS)] == ["pump"]
