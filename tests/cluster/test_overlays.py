"""What distinguishes the overlays, who may talk to whom, and what people are told of."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from homeostat.eventing.doors.calling import MOUNTED
from homeostat.eventing.messages import EVENTS
from homeostat.infra.cluster.kustomized import Object
from tests.cluster.rendered import OVERLAYS, base, everything, named, of, overlay, services


def mentions(objects: list[Object], word: str) -> set[str]:
    # Dashboards are the same everywhere, and have panels for what is not.
    told = ("CustomResourceDefinition", "ConfigMap homeostat-dashboards")
    found = [one for one in objects if one["kind"] not in told and named(one) not in told]
    return {named(one) for one in found if word in yaml.safe_dump(one).lower()}


@pytest.mark.parametrize("name", ["dev", "minimal"])
def test_without_kafka_nothing_speaks_kafka(name: str) -> None:
    objects = overlay(name)
    broker = of(objects, "Broker")["default"]
    assert broker["metadata"]["annotations"] == {"eventing.knative.dev/broker.class": "MTChannelBasedBroker"}
    channel = of(objects, "ConfigMap")[broker["spec"]["config"]["name"]]
    assert yaml.safe_load(channel["data"]["channel-template-spec"])["kind"] == "InMemoryChannel"
    # The Trigger of score-stream would take a KafkaSource's records, and asks a Kafka broker for their order.
    assert mentions(objects, "kafka") == {"Trigger score-stream"}
    # What the Broker is told otherwise, it keeps.
    assert broker["spec"]["delivery"] == of(base(), "Broker")["default"]["spec"]["delivery"]


def test_minimal_needs_neither_katib_nor_the_prometheus_operator() -> None:
    objects = overlay("minimal")
    assert mentions(objects, "katib") == {
        "ConfigMap homeostat",
        "Namespace homeostat",
        "NetworkPolicy mlflow",
    }
    assert not mentions(objects, "kubeflow.org/v1beta1")
    assert "finish-tuning" not in of(objects, "Trigger")
    groups = {
        group for rule in of(objects, "Role")["plan-retraining"]["rules"] for group in rule["apiGroups"]
    }
    assert "kubeflow.org" not in groups
    assert not mentions(objects, "monitoring.coreos.com")
    assert [one["kind"] for one in of(objects, "ApiServerSource")["resources"]["spec"]["resources"]] == [
        "InferenceService"
    ]
    assert [one["apiGroups"] for one in of(objects, "Role")["resources-reader"]["rules"]] == [
        ["serving.kserve.io"]
    ]


def test_minimal_knows_nothing_of_kubeflow_pipelines() -> None:
    objects = overlay("minimal")
    for word in ("ml-pipeline", "pipelines.kubeflow.org", "pipeline-runner", "name: kubeflow"):
        assert mentions(base(), word), f"{word} tells nothing"
        assert not mentions(objects, word)
    assert "pipelines" not in of(objects, "NetworkPolicy").keys() | of(objects, "EventPolicy").keys()


def test_in_minimal_a_train_jobs_pod_tells_the_broker_as_itself_how_its_run_ended() -> None:
    objects = overlay("minimal")
    pod = training_pod(objects)
    policy = of(objects, "EventPolicy")["training"]["spec"]
    assert policy["from"] == [{"sub": f"system:serviceaccount:homeostat:{pod['serviceAccountName']}"}]
    assert [kind.type for kind in EVENTS if passes(policy["filters"], kind.type)] == [
        "dev.homeostat.training.completed",
        "dev.homeostat.training.failed",
    ]
    (volume,) = [one for one in pod["volumes"] if "projected" in one]
    (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["name"] == volume["name"]]
    (token,) = [one["serviceAccountToken"] for one in volume["projected"]["sources"]]
    assert Path(mount["mountPath"], token["path"]) == MOUNTED
    broker = of(objects, "Broker")["default"]["metadata"]
    # As knative.dev/eventing/pkg/auth's GetAudience writes it.
    assert token["audience"] == f"eventing.knative.dev/broker/{broker['namespace']}/{broker['name']}"


def test_a_train_jobs_pod_has_an_account_with_no_right_and_no_token_of_the_api_servers() -> None:
    for objects in (base(), overlay("minimal")):
        pod = training_pod(objects)
        account = of(objects, "ServiceAccount")[pod["serviceAccountName"]]
        assert pod["automountServiceAccountToken"] is account["automountServiceAccountToken"] is False
        for binding in of(objects, "RoleBinding").values():
            assert account["metadata"]["name"] not in {one["name"] for one in binding["subjects"]}


def training_pod(objects: list[Object]) -> dict[str, Any]:
    runtime = of(objects, "ClusterTrainingRuntime")["homeostat"]
    (group,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    return dict(group["template"]["spec"]["template"]["spec"])


def test_production_keeps_events_on_kafka_three_times() -> None:
    objects = overlay("production")
    broker = of(objects, "Broker")["default"]
    assert broker["metadata"]["annotations"]["eventing.knative.dev/broker.class"] == "Kafka"
    config = of(objects, "ConfigMap")[broker["spec"]["config"]["name"]]["data"]
    assert config["default.topic.replication.factor"] == "3"
    (source,) = of(objects, "KafkaSource").values()
    assert config["bootstrap.servers"] in source["spec"]["bootstrapServers"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_says_differences_only(name: str) -> None:
    """No object of base is written out anew: most of those that it keeps are as they were."""
    known = {named(one) for one in base()}
    kept = [one for one in overlay(name) if named(one) in known]
    same = [one for one in kept if one in base()]
    assert len(same) > 0.8 * len(kept)


# --- who may send what ----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_every_source_of_the_broker_has_one_policy_and_every_policy_its_source(name: str) -> None:
    objects = everything()[name]
    policies = of(objects, "EventPolicy").values()
    allowed = {
        (one["ref"]["kind"], one["ref"]["name"])
        for policy in policies
        for one in policy["spec"]["from"]
        if "ref" in one
    }
    sources = {
        (one["kind"], one["metadata"]["name"])
        for one in objects
        if one["apiVersion"].startswith("sources.") and one["spec"]["sink"]["ref"]["kind"] == "Broker"
    }
    assert allowed == sources
    for policy in policies:
        assert [to["ref"]["name"] for to in policy["spec"]["to"]] == ["default"]
        assert policy["spec"]["filters"], "a policy without a filter lets everything through"


def passes(filters: list[dict[str, Any]], kind: str) -> bool:
    def one(rule: dict[str, Any]) -> bool:
        ((dialect, of_it),) = rule.items()
        if dialect == "any":
            return any(map(one, of_it))
        return kind == of_it["type"] if dialect == "exact" else kind.startswith(of_it["type"])

    return all(map(one, filters))


def test_every_event_of_the_loop_may_be_sent_by_somebody() -> None:
    policies = of(base(), "EventPolicy").values()
    for kind in EVENTS:
        assert any(passes(one["spec"]["filters"], kind.type) for one in policies), kind.type
    assert not any(passes(one["spec"]["filters"], "com.example.other") for one in policies)


# --- who may reach whom ---------------------------------------------------------------------------------
def selects(policy: Object, labels: dict[str, str]) -> bool:
    selector = policy["spec"]["podSelector"]
    by = {"In": lambda key, rule: labels.get(key) in rule["values"], "Exists": lambda key, _: key in labels}
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        by[rule["operator"]](rule["key"], rule) for rule in selector.get("matchExpressions", [])
    )


def pod_labels() -> dict[str, dict[str, str]]:
    """The labels that pods carry: our own, and those that Knative, KServe, Katib and JobSet add."""
    found = {
        name: {**one["spec"]["template"]["metadata"]["labels"], "serving.knative.dev/service": name}
        for name, one in services(base()).items()
    }
    for kind in ("Deployment", "StatefulSet"):
        found |= {
            name: one["spec"]["template"]["metadata"]["labels"] for name, one in of(base(), kind).items()
        }
    found["predictor"] = {"serving.kserve.io/inferenceservice": "pump", "serving.knative.dev/service": "pump"}
    found["trial"] = {"katib.kubeflow.org/experiment": "pump", "katib.kubeflow.org/trial": "pump-1"}
    found["node"] = {"jobset.sigs.k8s.io/jobset-name": "pump"}
    return found


def test_nothing_is_reachable_nor_reaches_out_by_default() -> None:
    nobody = of(base(), "NetworkPolicy")["nobody"]["spec"]
    assert nobody == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize(
    ("pod", "policies"),
    [
        ("receive-data", {"services", "kubernetes", "objects"}),
        ("detect-drift", {"services", "kubernetes", "objects"}),
        ("take-label", {"services", "kubernetes", "objects", "figures"}),
        ("answer-alert", {"services", "kubernetes"}),
        ("plan-retraining", {"services", "kubernetes", "pipelines"}),
        ("judge-candidate", {"services", "kubernetes"}),
        ("finish-tuning", {"services", "kubernetes"}),
        ("roll-out", {"services", "kubernetes", "figures", "aliases"}),
        ("score-stream", {"services", "kubernetes", "scores"}),
        ("gateway", {"services", "kubernetes", "objects"}),
        ("mlflow", {"mlflow"}),
        ("mlflow-database", {"mlflow-database"}),
        ("predictor", {"predictors"}),
        ("trial", {"tuning"}),
        ("node", {"training"}),
    ],
)
def test_a_pod_falls_under_the_policies_that_are_meant_for_it(pod: str, policies: set[str]) -> None:
    found = {name for name, one in of(base(), "NetworkPolicy").items() if selects(one, pod_labels()[pod])}
    assert found - {"nobody", "names"} == policies


def test_in_minimal_a_train_jobs_pod_reaches_the_broker_and_mlflow_lets_it_in() -> None:
    policies = of(overlay("minimal"), "NetworkPolicy")
    training, mlflow = policies["training"]["spec"], policies["mlflow"]["spec"]
    to = [
        (one["namespaceSelector"]["matchLabels"], [port["port"] for port in rule["ports"]])
        for rule in training["egress"]
        for one in rule["to"]
        if "namespaceSelector" in one
    ]
    (broker,) = [
        one["namespaceSelector"]["matchLabels"]
        for rule in policies["services"]["spec"]["egress"]
        for one in rule["to"]
        if {"protocol": "TCP", "port": 8443} in rule["ports"]
    ]
    assert (broker, [8080, 8443]) in to
    assert ({"homeostat.dev/objects": "true"}, [9000]) in to
    node, server = pod_labels()["node"], pod_labels()["mlflow"]
    (into_mlflow,) = [
        rule["ports"]
        for rule in training["egress"]
        for one in rule["to"]
        if "podSelector" in one and selects({"spec": one}, server)
    ]
    (from_node,) = [
        rule["ports"] for rule in mlflow["ingress"] for one in rule["from"] if selects({"spec": one}, node)
    ]
    assert into_mlflow == from_node
    assert selects(policies["mlflow"], server)
    assert "pipelines" not in {
        name for name, one in policies.items() if selects(one, pod_labels()["plan-retraining"])
    }


def test_nothing_that_may_leave_the_cluster_reaches_the_nodes_credentials() -> None:
    for policy in of(base(), "NetworkPolicy").values():
        for rule in policy["spec"].get("egress", []):
            for block in (to["ipBlock"] for to in rule.get("to", []) if "ipBlock" in to):
                assert block["except"], named(policy)
            assert rule.get("to"), "egress to anywhere"


# --- what people are told -------------------------------------------------------------------------------
def test_promtool_reads_the_rules(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on this machine (make system-deps): the rules' PromQL is not parsed")
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(of(base(), "PrometheusRule")["homeostat"]["spec"]))
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
