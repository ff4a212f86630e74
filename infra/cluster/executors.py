"""Commands carried out on a cluster: training runs are Kubeflow Pipelines' or Trainer's, searches are
Katib's, revisions are one InferenceService per Detector. Every executor is idempotent, because a redelivered
event carries out its commands again.

As on one machine, what is served follows the Detector's status as it is now, whichever command asks: a
promotion that is carried out late, after a rollback, does not bring the bad revision back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from homeostat.eventing.errors import Fault, Reject, Retry
from homeostat.eventing.messages import (
    Command,
    Promote,
    RollBack,
    ShiftTraffic,
    StartCanary,
    StartTraining,
    StartTuning,
)
from homeostat.functions.detector import Cause, Detector
from homeostat.functions.spec import Spec

from ..shell import Execute
from ..trouble import WAITING
from .aliases import Aliases
from .client import INFERENCE_SERVICES, Objects
from .detectors import DetectorObjects
from .errors import Conflict
from .experiments import Experiments
from .inference_service import Desired, Options, whole
from .kserve import step

ATTEMPTS = 10
AGAIN_SECONDS = 10
"""A revision that has to load first is looked at again after so long, by the event's redelivery."""


class Runs(Protocol):
    """Where training runs: Kubeflow Pipelines (`kfp_runs`), or Trainer alone (`train_jobs`)."""

    def submit(self, command: StartTraining, spec: Spec, cause: Cause) -> str: ...
    def state(self, run: str) -> str | None: ...


@dataclass(frozen=True)
class Cluster:
    """What the executors reach: each function's process has what its own commands need. Without
    `experiments` there is no Katib, and without `aliases` nobody tells MLflow."""

    objects: Objects
    detectors: DetectorObjects
    serving: Options
    runs: Runs | None = None
    experiments: Experiments | None = None
    aliases: Aliases | None = None


async def start_training(command: StartTraining, detector: Detector, cluster: Cluster) -> None:
    if cluster.runs is None:
        raise RuntimeError("this process was not told where Kubeflow Pipelines is")
    run = detector.status.run
    cause = run.cause if run and run.name == command.run else detector.cause
    await asyncio.to_thread(cluster.runs.submit, command, detector.spec, cause)


async def start_tuning(command: StartTuning, detector: Detector, cluster: Cluster) -> None:
    """Raises Reject where there is no Katib: the search then counts as gone, and drift is answered by
    training as ever."""
    if cluster.experiments is None:
        mend = "install Katib and leave the component without-katib out, or set spec.tuning.when to never"
        raise Reject(Fault("StartTuning", command.experiment, f"this cluster has no Katib: {mend}"))
    await asyncio.to_thread(cluster.experiments.submit, command, detector.spec)


async def serve_what_the_status_says(_: object, detector: Detector, cluster: Cluster) -> None:
    """Raises Retry while something has to load first, Reject for names that KServe takes not."""
    await asyncio.to_thread(_serve, detector, cluster)


def _serve(detector: Detector, cluster: Cluster) -> None:
    for _ in range(ATTEMPTS):
        desired = _desired(detector, cluster.detectors)
        owner = cluster.detectors.owner(detector.name)
        if desired is None or owner is None:  # deleted meanwhile; its InferenceService goes with it
            return
        faults = list(desired.faults())
        if faults:
            raise Reject(faults)
        try:
            waits = _step(desired, owner, cluster)
        except Conflict:
            continue
        if waits:
            raise Retry(f"{detector.name}: {waits}", after=AGAIN_SECONDS, kind=WAITING)
        if cluster.aliases:
            sides = desired.stable, desired.canary
            cluster.aliases.want(detector.name, *(one.version if one else None for one in sides))
        return
    raise Retry(f"the InferenceService {detector.name} is being changed by many at once", after=1)


def _desired(detector: Detector, detectors: DetectorObjects) -> Desired | None:
    found = detectors.snapshot(detector.name, detector.now, detector.cause)
    if found is None:
        return None
    status = found[0].status
    canary = status.canary
    return Desired(
        detector=detector.name,
        stable=status.serving,
        canary=canary.revision if canary else None,
        percent=canary.percent if canary else 0,
    )


def _step(desired: Desired, owner: Mapping[str, Any], cluster: Cluster) -> str:
    """Write the next step, at the version that it was made from; what it waits for."""
    now = cluster.objects.get(INFERENCE_SERVICES, desired.detector)
    found = step(desired, now, cluster.serving)
    if found.document is None:
        return found.waits
    if now is None:
        cluster.objects.create(INFERENCE_SERVICES, whole(desired, found.document, cluster.serving, owner))
    else:
        metadata = found.document.get("metadata", {})
        version = {"resourceVersion": now["metadata"]["resourceVersion"]}
        patch = {**found.document, "metadata": {**metadata, **version}}
        cluster.objects.patch(INFERENCE_SERVICES, desired.detector, patch)
    return found.waits


EXECUTORS: Mapping[type[Command], Callable[[Any, Detector, Cluster], Awaitable[None]]] = {
    StartTraining: start_training,
    StartTuning: start_tuning,
    StartCanary: serve_what_the_status_says,
    ShiftTraffic: serve_what_the_status_says,
    Promote: serve_what_the_status_says,
    RollBack: serve_what_the_status_says,
}


def bound(cluster: Cluster) -> dict[type[Command], Execute]:
    """The executors of one function's process, as the shell calls them."""

    def bind(execute: Callable[[Any, Detector, Cluster], Awaitable[None]]) -> Execute:
        return lambda command, detector: execute(command, detector, cluster)

    return {kind: bind(execute) for kind, execute in EXECUTORS.items()}
