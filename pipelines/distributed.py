"""A TrainJob of Kubeflow Trainer, as a document: so many nodes of one runtime, with a command of ours. Pure;
whoever has a client creates it.

https://www.kubeflow.org/docs/components/trainer/
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

API_VERSION, KIND = "trainer.kubeflow.org/v1alpha1", "TrainJob"
RUNTIME = "homeostat"
"""The ClusterTrainingRuntime that infra/base installs."""

LONGEST = 46
"""JobSet calls its pods `NAME-node-0-999-abcde`, and that has to fit into a DNS label."""
_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


@dataclass(frozen=True)
class Work:
    """What every node runs. `deadline` seconds after its creation, whatever still runs is ended."""

    command: Sequence[str]
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] | None = None
    resources: Mapping[str, Any] | None = None
    image: str | None = None
    nodes: int = 1
    deadline: int | None = None


def train_job(run: str, detector: str, work: Work, owner: Mapping[str, Any]) -> dict[str, Any]:
    """The TrainJob of that run; it goes when its owner goes. What `work` leaves open, the runtime says."""
    trainer: dict[str, Any] = {
        "numNodes": work.nodes,
        "command": list(work.command),
        "args": list(work.arguments),
    }
    if work.environment:
        trainer["env"] = [{"name": name, "value": value} for name, value in work.environment.items()]
    if work.resources:
        trainer["resourcesPerNode"] = dict(work.resources)
    if work.image:
        trainer["image"] = work.image
    spec: dict[str, Any] = {"runtimeRef": {"name": RUNTIME}, "suspend": False, "trainer": trainer}
    if work.deadline:
        spec["activeDeadlineSeconds"] = work.deadline
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": job_name(run),
            "labels": {
                "app.kubernetes.io/managed-by": "homeostat",
                "app.kubernetes.io/part-of": "homeostat",
                "homeostat.dev/detector": detector,
            },
            "annotations": {"homeostat.dev/run": run},
            "ownerReferences": [dict(owner)],
        },
        "spec": spec,
    }


def job_name(run: str) -> str:
    """The run's name, where Trainer and JobSet take it; else what fits of it, and a hash that tells it from
    others."""
    if len(run) <= LONGEST and _LABEL.fullmatch(run):
        return run
    mark = hashlib.sha256(run.encode()).hexdigest()[:10]
    fits = re.sub(r"[^-a-z0-9]+", "-", f"run-{run}".lower())[: LONGEST - len(mark) - 1]
    return f"{fits.rstrip('-')}-{mark}"
