"""Training runs as TrainJobs, under the token and the Role that `minimal` gives to plan-retraining."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from homeostat.eventing.errors import Reject, Retry
from homeostat.eventing.messages import StartTraining
from homeostat.functions.detector import Cause
from homeostat.functions.spec import Spec
from homeostat.infra.cluster.detectors import DetectorObjects
from homeostat.infra.cluster.kfp_runs import Places
from homeostat.infra.cluster.train import request_in
from homeostat.infra.cluster.train_jobs import TrainJobs
from tests.cluster.answers import Refused
from tests.cluster.api_server import ApiServer
from tests.cluster.callers import objects
from tests.cluster.kinds import wrong
from tests.cluster.rendered import container, of, overlay, services

PLACES = Places("s3://homeostat/models", "http://mlflow:5000", "http://broker")
SPEC = Spec.model_validate({"data": {"uri": "s3://plant/pump/", "channels": ["a"]}})
CAUSE = Cause(id="cause", correlationid="c", hops=3)
COMMAND = StartTraining(
    run="pump-0a1b2c",
    detector="pump",
    data=("s3://plant/pump/a.csv",),
    candidates=("isolation-forest",),
    parameters={"isolation-forest": {"trees": 50}},
    champion=None,
)


@pytest.fixture
def minimal(server: ApiServer) -> ApiServer:
    """An API server with the rights that the overlay installs."""
    server.put(*of(overlay("minimal"), "Role").values(), *of(overlay("minimal"), "RoleBinding").values())
    return server


def engine(server: ApiServer, **more: Any) -> TrainJobs:
    api = objects(server, "plan-retraining")
    return TrainJobs(api, DetectorObjects(api, "plan-retraining").owner, PLACES, **more)


def job(server: ApiServer, name: str = COMMAND.run) -> dict[str, Any]:
    found = server.get("TrainJob", name)
    assert found is not None
    return found


# --- one run, one TrainJob -------------------------------------------------------------------------------
def test_a_train_job_is_told_all_that_its_pod_asks_for(minimal: ApiServer) -> None:
    assert engine(minimal).submit(COMMAND, SPEC, CAUSE) == "pump-0a1b2c"
    made = job(minimal)
    assert wrong(made) == []
    request = request_in(made["spec"]["trainer"]["args"])
    assert Spec.model_validate(request["spec"]) == SPEC
    assert Cause.model_validate(request["cause"]) == CAUSE
    assert (request["run"], request["data"]) == ("pump-0a1b2c", ["s3://plant/pump/a.csv"])
    places = (request["models_root"], request["tracking_uri"], request["sink"])
    assert places == ("s3://homeostat/models", "http://mlflow:5000", "http://broker")
    assert made["spec"]["trainer"]["command"] == ["python", "-m", "homeostat.infra.cluster.train"]


def test_it_names_the_runtime_that_is_installed_and_goes_with_its_detector(minimal: ApiServer) -> None:
    engine(minimal).submit(COMMAND, SPEC, CAUSE)
    made, owner = job(minimal), minimal.get("Detector", "pump")
    assert made["spec"]["runtimeRef"]["name"] in of(overlay("minimal"), "ClusterTrainingRuntime")
    (reference,) = made["metadata"]["ownerReferences"]
    assert owner is not None
    assert (reference["name"], reference["uid"]) == ("pump", owner["metadata"]["uid"])


def test_a_redelivery_and_replicas_at_the_same_moment_have_one(minimal: ApiServer) -> None:
    replicas = [engine(minimal) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        names = set(pool.map(lambda one: one.submit(COMMAND, SPEC, CAUSE), replicas))
    assert names == {engine(minimal).submit(COMMAND, SPEC, CAUSE)}
    made = [one for one in minimal.calls if (one.verb, one.resource) == ("create", "trainjobs")]
    assert sorted(one.code for one in made) == [200, 409, 409, 409, 409]


def test_a_detector_that_was_deleted_meanwhile_is_not_trained(minimal: ApiServer) -> None:
    assert engine(minimal).submit(replace(COMMAND, detector="gone"), SPEC, CAUSE) == "pump-0a1b2c"
    assert minimal.get("TrainJob", "pump-0a1b2c") is None


def test_an_answer_that_is_lost_leaves_one(minimal: ApiServer) -> None:
    kept = engine(minimal)
    kept.submit(COMMAND, SPEC, CAUSE)
    minimal.troubles += [Refused(500, "", "etcd is away"), Refused(429, "", "slowly")]
    kept.submit(COMMAND, SPEC, CAUSE)
    assert job(minimal)["metadata"]["generation"] == 1


def test_nobody_waits_for_a_run_that_takes_twice_its_time(minimal: ApiServer) -> None:
    spec = Spec.model_validate({**SPEC.model_dump(mode="json"), "retrain": {"timeout": "90s"}})
    engine(minimal).submit(COMMAND, spec, CAUSE)
    made = job(minimal)["spec"]
    assert made["activeDeadlineSeconds"] == 180
    assert request_in(made["trainer"]["args"])["timeout"] == 90


def test_its_pod_trusts_the_brokers_authority_as_the_function_does(minimal: ApiServer) -> None:
    engine(minimal, authorities="-----BEGIN").submit(COMMAND, SPEC, CAUSE)
    assert job(minimal)["spec"]["trainer"]["env"] == [{"name": "K_CA_CERTS", "value": "-----BEGIN"}]


# --- arguments -------------------------------------------------------------------------------------------
def test_more_batches_than_one_argument_of_linux_holds_arrive_whole(minimal: ApiServer) -> None:
    many = tuple(f"s3://plant/pump/überall/{one:06}.csv" for one in range(8000))
    engine(minimal).submit(replace(COMMAND, data=many), SPEC, CAUSE)
    pieces = job(minimal)["spec"]["trainer"]["args"]
    assert 1 < len(pieces) <= 128
    assert max(len(one.encode()) for one in pieces) < 128 * 1024
    assert request_in(pieces)["data"] == list(many)


def test_kubernetes_finds_no_variable_in_an_argument(minimal: ApiServer) -> None:
    """`$(HOME)` would become the pod's, and `$$` one of them."""
    odd = "s3://plant/pump/$(HOME)/$$.csv"
    engine(minimal).submit(replace(COMMAND, data=(odd,)), SPEC, CAUSE)
    pieces = job(minimal)["spec"]["trainer"]["args"]
    assert not any("$" in one for one in pieces)
    assert request_in(pieces)["data"] == [odd]


def test_what_does_not_fit_into_etcd_is_refused_for_good(minimal: ApiServer) -> None:
    endless = tuple(f"s3://plant/pump/{one:060}.csv" for one in range(20_000))
    with pytest.raises(Reject, match="too large"):
        engine(minimal).submit(replace(COMMAND, data=endless), SPEC, CAUSE)


# --- how it stands ---------------------------------------------------------------------------------------
def condition(kind: str, status: str = "True") -> dict[str, Any]:
    when = "2026-11-24T13:00:00Z"
    return {"type": kind, "status": status, "reason": "R", "message": "", "lastTransitionTime": when}


def node(**figures: int) -> dict[str, Any]:
    none = dict.fromkeys(("ready", "succeeded", "failed", "active", "suspended"), 0)
    return {"jobsStatus": [{"name": "node", **none, **figures}]}


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (None, "PENDING"),
        ({"conditions": [condition("Suspended")]}, "PENDING"),
        ({"conditions": [condition("Suspended", "False")], **node(active=1)}, "PENDING"),
        (node(active=1, ready=1), "RUNNING"),
        ({"conditions": [condition("Complete")], **node(succeeded=1)}, "SUCCEEDED"),
        ({"conditions": [condition("Suspended", "False"), condition("Failed")]}, "FAILED"),
    ],
)
def test_its_state_is_told_in_the_words_of_pipelines(
    minimal: ApiServer, status: dict[str, Any] | None, state: str
) -> None:
    kept = engine(minimal)
    kept.submit(COMMAND, SPEC, CAUSE)
    if status:
        minimal.put({**job(minimal), "status": status})
    assert kept.state("pump-0a1b2c") == state


def test_a_run_that_nobody_submitted_has_no_state(minimal: ApiServer) -> None:
    assert engine(minimal).state("pump-other") is None


# --- rights ----------------------------------------------------------------------------------------------
def test_minimal_grants_what_a_run_needs_and_no_more(minimal: ApiServer) -> None:
    kept = engine(minimal)
    kept.submit(COMMAND, SPEC, CAUSE)
    kept.state(COMMAND.run)
    used = {
        (one.group, one.resource, one.verb)
        for one in minimal.calls
        if one.who == "plan-retraining" and one.group != "homeostat.dev"
    }
    granted = {
        (group, resource, verb)
        for rule in of(overlay("minimal"), "Role")["plan-retraining"]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if group != "homeostat.dev"
    }
    assert used == granted
    assert not [one for one in minimal.calls if one.code == 403]


def test_where_pipelines_run_nobody_may_create_train_jobs(server: ApiServer) -> None:
    with pytest.raises(Retry, match=r"grant the verb create on trainjobs\.trainer\.kubeflow\.org"):
        engine(server).submit(COMMAND, SPEC, CAUSE)
    assert server.get("TrainJob", COMMAND.run) is None


def test_a_name_that_is_a_path_leads_nowhere_else(minimal: ApiServer) -> None:
    assert engine(minimal).state("../detectors/pump") is None
    name = engine(minimal).submit(replace(COMMAND, run="../x"), SPEC, CAUSE)
    assert re.fullmatch(r"[-a-z0-9]+", name)
    assert job(minimal, name)["metadata"]["annotations"]["homeostat.dev/run"] == "../x"


def test_the_function_that_submits_is_told_that_there_are_no_pipelines() -> None:
    objects = overlay("minimal")
    assert of(objects, "ConfigMap")["homeostat"]["data"]["HOMEOSTAT_PIPELINES_URL"] == ""
    (submitting,) = [one for name, one in services(objects).items() if name == "plan-retraining"]
    assert [one["name"] for one in container(submitting)["volumeMounts"]] == ["tmp"]
    assert [one["name"] for one in submitting["spec"]["template"]["spec"]["volumes"]] == ["tmp"]
