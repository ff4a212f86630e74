"""The parts of a cluster that the loop runs on: which versions are meant, and how each tells its own.

An overlay needs a part when it needs one of the part's kinds; Kubeflow Pipelines has none, and is needed
where the settings say where it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from ..findings import Finding
from .check_sources import Source, Unknown
from .kinds import CRD, DEPLOYMENT

LABEL = "app.kubernetes.io/version"


@dataclass(frozen=True)
class Part:
    """`groups` are its API groups, `crds` single ones of another part's group. It tells its version by the
    label or annotation `key` of its first CRD, or by its Deployment (namespace, name): a label, else an
    image's tag."""

    name: str
    meant: str
    install: str
    deployment: tuple[str, str]
    groups: tuple[str, ...] = ()
    crds: tuple[str, ...] = ()
    told: str = ""
    key: str = LABEL


PIPELINES = Part(
    "Kubeflow Pipelines",
    ">=2.16,<3",
    "https://www.kubeflow.org/docs/components/pipelines/operator-guides/installation/",
    ("kubeflow", "ml-pipeline"),
)
PARTS = (
    Part(
        "Knative Kafka",
        ">=1.18,<2",
        "https://knative.dev/docs/install/yaml-install/eventing/install-eventing-with-yaml/ (Kafka)",
        ("knative-eventing", "kafka-controller"),
        crds=("kafkasources.sources.knative.dev", "kafkasinks.eventing.knative.dev"),
        told="kafkasources.sources.knative.dev",
    ),
    Part(
        "Knative Eventing",
        ">=1.18,<2",
        "https://knative.dev/docs/install/yaml-install/eventing/",
        ("knative-eventing", "eventing-controller"),
        groups=("eventing.knative.dev", "sources.knative.dev", "messaging.knative.dev"),
        told="brokers.eventing.knative.dev",
    ),
    Part(
        "Knative Serving",
        ">=1.18,<2",
        "https://knative.dev/docs/install/yaml-install/serving/",
        ("knative-serving", "controller"),
        groups=("serving.knative.dev",),
        told="services.serving.knative.dev",
    ),
    Part(
        "KServe",
        ">=0.20,<1",
        "https://kserve.github.io/website/docs/admin-guide/overview",
        ("kserve", "kserve-controller-manager"),
        groups=("serving.kserve.io",),
    ),
    Part(
        "Katib",
        ">=0.18,<1",
        "https://www.kubeflow.org/docs/components/katib/installation/",
        ("kubeflow", "katib-controller"),
        groups=("kubeflow.org",),
    ),
    Part(
        "Kubeflow Trainer",
        ">=2.1,<3",
        "https://www.kubeflow.org/docs/components/trainer/operator-guides/installation/",
        ("kubeflow-system", "kubeflow-trainer-controller-manager"),
        groups=("trainer.kubeflow.org",),
    ),
    Part(
        "Prometheus operator",
        ">=0.80,<1",
        "https://prometheus-operator.dev/docs/getting-started/installation/",
        ("monitoring", "prometheus-operator"),
        groups=("monitoring.coreos.com",),
        told="podmonitors.monitoring.coreos.com",
        key="operator.prometheus.io/version",
    ),
    Part(
        "External Secrets",
        ">=0.17",
        "https://external-secrets.io/latest/introduction/getting-started/",
        ("external-secrets", "external-secrets"),
        groups=("external-secrets.io",),
    ),
)
KUBERNETES = ">=1.31"
"""What Kubeflow Trainer 2 asks for, the most demanding of them."""

_TAG = re.compile(r":v?(\d+\.\d+[^@]*)")


def part_of(crd: str) -> Part | None:
    """The part that brings a CRD."""
    named = (part for part in PARTS if crd in part.crds)
    grouped = (part for part in PARTS if crd.partition(".")[2] in part.groups)
    return next(named, None) or next(grouped, None)


def kubernetes(source: Source) -> Iterator[Finding]:
    yield judged("Kubernetes", source.version(), KUBERNETES, "upgrade the cluster")


def versions(source: Source, parts: Iterable[Part]) -> Iterator[Finding]:
    for part in parts:
        try:
            found = _told(source, part)
        except Unknown as unknown:
            advice = f"{part.meant} is meant; {unknown.found}: {unknown.mend}"
            yield Finding(part.name, True, "its version cannot be told", advice=advice)
        else:
            yield judged(part.name, found, part.meant, f"upgrade it: {part.install}")


def judged(name: str, found: str, meant: str, mend: str) -> Finding:
    """What a version means beside the meant ones: older is not enough, newer was not tried."""
    try:
        version = Version(re.sub(r"[-+](gke|eks|k3s|rke2|aks).*", "", found.removeprefix("v")))
    except InvalidVersion:
        shown = f"its version cannot be told ({found})" if found else "its version cannot be told"
        return Finding(name, True, shown, advice=f"{meant} is meant")
    wanted = SpecifierSet(meant, prereleases=True)
    if wanted.contains(version):
        return Finding(name, True, found)
    least = SpecifierSet(",".join(one for one in meant.split(",") if one.startswith(">=")), prereleases=True)
    if least.contains(version):
        return Finding(name, True, found, advice=f"{meant} is meant; a newer one was not tried")
    return Finding(name, False, found, f"{meant} is meant: {mend}")


def _told(source: Source, part: Part) -> str:
    if part.told:
        meta = (source.find(CRD, "", part.told) or {}).get("metadata", {})
        told = {**meta.get("annotations", {}), **meta.get("labels", {})}.get(part.key)
        if told and told != "devel":
            return str(told)
    namespace, name = part.deployment
    deployment = source.find(DEPLOYMENT, namespace, name)
    if deployment is None:
        raise Unknown(part.name, f"no Deployment {name} in {namespace}", "look where it is installed")
    return _label(deployment) or next(_tags(deployment), "")


def _label(deployment: Mapping[str, Any]) -> str:
    return str(deployment["metadata"].get("labels", {}).get(LABEL, ""))


def _tags(deployment: Mapping[str, Any]) -> Iterator[str]:
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        found = _TAG.search(container.get("image", "").rpartition("/")[2])
        if found:
            yield found[1]
