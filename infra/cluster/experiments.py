"""Searches on a cluster: Katib Experiments, through the Kubernetes API.

An Experiment is called by the event that it answers, and Kubernetes knows one of a name: a redelivery, and a
twin that was faster, are told "already exists", and that is success. It belongs to its Detector, and goes
with it, and Katib's trials with the Experiment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from homeostat.eventing.errors import Retry
from homeostat.eventing.messages import StartTuning
from homeostat.functions.spec import Spec
from homeostat.pipelines.tuning import Trials

from ..tuning_document import document
from .client import EXPERIMENTS, POD_TEMPLATES, Document, Objects
from .errors import Conflict

TEMPLATE = "trial"
"""The PodTemplate that says what a trial's pod is like (infra/base/training/trial.yaml)."""


class Experiments:
    """`owner` finds a Detector's owner reference. Thread-safe. Raises Retry and Reject as `errors.tried`
    does."""

    def __init__(self, objects: Objects, owner: Callable[[str], Mapping[str, Any] | None]) -> None:
        self._objects, self._owner = objects, owner

    def submit(self, command: StartTuning, spec: Spec) -> None:
        """Have the search, once. The same name again is the same search."""
        owner = self._owner(command.detector)
        if owner is None:  # deleted meanwhile: its search would go with it
            return
        found = self._objects.get(POD_TEMPLATES, TEMPLATE)
        if found is None:
            mend = "apply infra/base/training/trial.yaml"
            raise Retry(f"there is no PodTemplate {TEMPLATE} in {self._objects.namespace}: {mend}", after=60)
        new = document(command, spec, Trials(self._objects.namespace, found["template"]))
        new["metadata"]["ownerReferences"] = [dict(owner)]
        with contextlib.suppress(Conflict):
            self._objects.create(EXPERIMENTS, new)

    def state(self, name: str) -> tuple[str, str] | None:
        """How the search stands: Katib's word for it (Running, Succeeded, Failed), and what Katib says to it.
        None when there is none of that name."""
        found = self._objects.get(EXPERIMENTS, name)
        return None if found is None else state_of(found)


def state_of(found: Document) -> tuple[str, str]:
    """Katib keeps every condition that ever held, the last one as the one that is true."""
    for one in reversed((found.get("status") or {}).get("conditions") or ()):
        if one.get("status") == "True" and one.get("type") in ("Succeeded", "Failed"):
            said = (one.get("reason"), one.get("message"))
            return str(one["type"]), ": ".join(str(part) for part in said if part)
    return "Running", ""
