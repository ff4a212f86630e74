"""Training runs where there is no Kubeflow Pipelines: one TrainJob each, whose pod works through the whole
pipeline (`train.py`), as one machine does.

A TrainJob is called by its run, and Kubernetes knows one of a name: a redelivery, and a twin that was faster,
are told "already exists", and that is success. It belongs to its Detector, and goes with it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import Any

from homeostat.eventing.doors.calling import AUTHORITIES
from homeostat.eventing.messages import StartTraining
from homeostat.functions.detector import Cause
from homeostat.functions.spec import Spec
from homeostat.pipelines.distributed import API_VERSION, KIND, Work, job_name, train_job

from ..training_request import requested
from .client import Document, Objects, Resource
from .errors import Conflict
from .kfp_runs import Places
from .train import arguments

_GROUP, _, _VERSION = API_VERSION.partition("/")
TRAIN_JOBS = Resource(_GROUP, _VERSION, KIND, "trainjobs")

COMMAND = ("python", "-m", "homeostat.infra.cluster.train")

LOST = 2
"""So many times its own time a run may be under way, with all pods that had to begin again: `plan_retraining`
waits no longer."""


class TrainJobs:
    """What `kfp_runs.Runs` is, with the same words. `owner` finds a Detector's owner reference; `authorities`
    (PEM) vouch for the sink where it speaks TLS, as K_CA_CERTS does for the function that submits.
    Thread-safe. Raises Retry and Reject as `errors.tried` does."""

    def __init__(
        self,
        objects: Objects,
        owner: Callable[[str], Mapping[str, Any] | None],
        places: Places,
        *,
        authorities: str = "",
        resources: Mapping[str, Any] | None = None,
    ) -> None:
        self._objects, self._owner, self._places = objects, owner, places
        self._authorities, self._resources = authorities, resources

    def submit(self, command: StartTraining, spec: Spec, cause: Cause) -> str:
        """Have the run, once; its TrainJob's name. The same name again is the same run."""
        owner = self._owner(command.detector)
        if owner is not None:  # else it was deleted meanwhile: its run would go with it
            with contextlib.suppress(Conflict):
                self._objects.create(TRAIN_JOBS, self._document(command, spec, cause, owner))
        return job_name(command.run)

    def state(self, run: str) -> str | None:
        """How the run of that name stands, in the words of KFP's RuntimeState; None when there is none."""
        found = self._objects.get(TRAIN_JOBS, job_name(run))
        return None if found is None else state_of(found)

    def _document(
        self, command: StartTraining, spec: Spec, cause: Cause, owner: Mapping[str, Any]
    ) -> dict[str, Any]:
        places = {
            "models_root": self._places.models_root,
            "tracking_uri": self._places.tracking_uri,
            "sink": self._places.sink,
        }
        work = Work(
            command=COMMAND,
            arguments=arguments(requested(command, spec, cause) | places),
            environment={AUTHORITIES: self._authorities} if self._authorities else None,
            resources=self._resources,
            deadline=max(1, math.ceil(LOST * spec.retrain.timeout.total_seconds())),
        )
        found = train_job(command.run, command.detector, work, owner)
        found["metadata"]["annotations"]["homeostat.dev/cause"] = cause.id
        return found


_ENDED = {"Complete": "SUCCEEDED", "Failed": "FAILED"}


def state_of(job: Document) -> str:
    """PENDING until its pods are there (it may be suspended, or find no node), RUNNING, SUCCEEDED, FAILED."""
    status = job.get("status") or {}
    for one in status.get("conditions") or ():
        if one["type"] in _ENDED and one["status"] == "True":
            return _ENDED[one["type"]]
    at_work = any(one.get("ready", 0) > 0 for one in status.get("jobsStatus") or ())
    return "RUNNING" if at_work else "PENDING"
