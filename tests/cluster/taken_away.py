"""What may be wrong with a cluster: which object, where in it (a JSON pointer; none: the object itself is
gone), what is there instead, and what the check says of it."""

from __future__ import annotations

from typing import Any

from homeostat.infra.cluster.kustomized import Object
from tests.cluster.complete import find, without

GONE = object()
ZEROS = "registry.invalid/homeostat-work@sha256:" + "0" * 64
IMAGE = "/spec/template/spec/containers/0/image"
CANARY = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/canary"
CLASS = "/metadata/annotations/eventing.knative.dev~1broker.class"
VERSION = "/metadata/labels/app.kubernetes.io~1version"


def condition(name: str, message: str) -> dict[str, Any]:
    return {"conditions": [{"type": name, "status": "False", "message": message}]}


def taken_away(objects: list[Object], where: str, pointer: str, value: Any) -> list[Object]:
    kind, name = where.split()
    if not pointer:
        return list(without(objects, kind, name))
    *way, last = [one.replace("~1", "/") for one in pointer.split("/")[1:]]
    place: Any = find(objects, kind, name)
    for one in way:
        place = place[int(one)] if isinstance(place, list) else place[one]
    at: Any = int(last) if isinstance(place, list) else last
    if value is GONE:
        del place[at]
    else:
        place[at] = value
    return objects


CASES: list[tuple[str, str, Any, str, str]] = [
    (
        "CustomResourceDefinition experiments.kubeflow.org",
        *("", GONE),
        *("experiments.kubeflow.org v1beta1", "there is no such CRD: install Katib >=0.18"),
    ),
    (
        "CustomResourceDefinition kafkasources.sources.knative.dev",
        *("", GONE),
        *("kafkasources.sources.knative.dev v1", "install Knative Kafka"),
    ),
    (
        "CustomResourceDefinition inferenceservices.serving.kserve.io",
        *("/spec/versions/0/served", False),
        *("inferenceservices.serving.kserve.io v1beta1", "served are none: install KServe >=0.20"),
    ),
    (
        "CustomResourceDefinition brokers.eventing.knative.dev",
        *("/status", condition("Established", "names clash")),
        *("brokers.eventing.knative.dev v1", "is not established: names clash"),
    ),
    (
        "CustomResourceDefinition detectors.homeostat.dev",
        *(CANARY, GONE),
        *("detectors.homeostat.dev as of this release", "properties.canary differ"),
    ),
    (
        "CustomResourceDefinition services.serving.knative.dev",
        *(VERSION, "1.12.3"),
        *("Knative Serving", "1.12.3: >=1.18,<2 is meant: upgrade it"),
    ),
    (
        "Deployment kserve-controller-manager",
        *(IMAGE, "kserve/kserve-controller:v0.15.2"),
        *("KServe", "0.15.2: >=0.20"),
    ),
    (
        "Role roll-out",
        *("", GONE),
        *("our roles.rbac.authorization.k8s.io", "missing roll-out: homeostat cluster render --overlay prod"),
    ),
    ("RoleBinding roll-out", "", GONE, "rights of roll-out", "may not get detectors.homeostat.dev"),
    (
        "Role roll-out",
        *("/rules/1", GONE),
        *("rights of roll-out", "may not update detectors.homeostat.dev/status: apply Role and binding"),
    ),
    ("Broker default", CLASS, "MTChannelBasedBroker", "broker's class", "a class cannot be changed"),
    (
        "Broker default",
        *("/status", condition("Ready", "no Kafka")),
        *("broker", "is not ready: no Kafka: kubectl -n homeostat describe broker"),
    ),
    (
        "Service gateway",
        *("/status", condition("Ready", "no such image")),
        *("Service gateway", "no such image: kubectl -n homeostat describe services.serving.knative.dev"),
    ),
    ("Trigger roll-out", "/status", GONE, "Trigger roll-out", "has no status: does its controller run?"),
    (
        "StatefulSet mlflow-database",
        *("/status/readyReplicas", 0),
        *("StatefulSet mlflow-database", "0 of 1 replicas are ready"),
    ),
    (
        "ConfigMap homeostat",
        *("/data/HOMEOSTAT_OBJECTS_URL", GONE),
        *("setting HOMEOSTAT_OBJECTS_URL", "is missing: kubectl -n homeostat edit configmap homeostat"),
    ),
    (
        "ConfigMap homeostat",
        *("/data/HOMEOSTAT_SERVING_MODE", "serverless"),
        *("setting HOMEOSTAT_SERVING_MODE", "is 'serverless'"),
    ),
    (
        "Endpoints ml-pipeline",
        *("/subsets", []),
        *("way to Kubeflow Pipelines", "no pod behind ml-pipeline in kubeflow is ready"),
    ),
    (
        "Endpoints broker-ingress",
        *("", GONE),
        *("way to the broker's ingress", "no Service broker-ingress in knative-eventing"),
    ),
    ("Deployment mlflow", IMAGE, ZEROS, "image registry.invalid/homeostat-work", "has no digest"),
]
