"""How the work in flight stands, asked of Kubeflow Pipelines, Trainer and Katib: only on a tick, and only
when there is some. What cannot be asked is unknown, and no reason to give anything up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from homeostat.eventing.codec import Context
from homeostat.eventing.errors import Reject, Retry
from homeostat.eventing.messages import CanaryTick
from homeostat.functions.detector import Detector
from homeostat.functions.work import State, WorkFacts

from ..shell import Observe

log = logging.getLogger(__name__)

STATES: Mapping[str, State] = {
    "PENDING": "running",
    "RUNNING": "running",
    "CANCELING": "running",
    "PAUSED": "running",
    "SUCCEEDED": "succeeded",
    # Every step was skipped: there is no new model, and nobody says so.
    "SKIPPED": "failed",
    "CANCELED": "failed",
    "FAILED": "failed",
    "Running": "running",
    "Succeeded": "succeeded",
    "Failed": "failed",
}
"""Of runs in the words of KFP's RuntimeState, of searches in Katib's. Words that are not here are unknown."""

NO_KATIB = "this cluster has no Katib"


class Runs(Protocol):
    """Kubeflow Pipelines' or Trainer's: the state of a run by its name, None when there is none."""

    def state(self, run: str) -> str | None: ...


class Searches(Protocol):
    def state(self, name: str) -> tuple[str, str] | None: ...


def watch(runs: Runs | None, searches: Searches | None) -> Observe:
    """The observer of `WorkFacts`. Without `searches` there is no Katib, and so no search either."""

    async def work(event: object, _: Context, detector: Detector) -> WorkFacts | None:
        if not isinstance(event, CanaryTick):
            return None
        status = detector.status
        if status.run and runs:
            return await _asked(status.run.name, lambda name: _of_run(name, runs))
        if status.tuning and searches:
            return await _asked(status.tuning.name, lambda name: _of_search(name, searches))
        if status.tuning:
            return WorkFacts(status.tuning.name, "gone", NO_KATIB)
        return None

    return work


async def _asked(name: str, ask: Callable[[str], WorkFacts]) -> WorkFacts:
    try:
        return await asyncio.to_thread(ask, name)
    except (Retry, Reject) as error:
        log.warning("how %s stands cannot be asked: %s", name, error)
        return WorkFacts(name, None, str(error))


def _of_run(name: str, runs: Runs) -> WorkFacts:
    said = runs.state(name)
    return WorkFacts(name, "gone") if said is None else _facts(name, said, "")


def _of_search(name: str, searches: Searches) -> WorkFacts:
    found = searches.state(name)
    return WorkFacts(name, "gone") if found is None else _facts(name, *found)


def _facts(name: str, said: str, detail: str) -> WorkFacts:
    state: Any = STATES.get(said)
    return WorkFacts(name, state, detail or said)
