"""Commands carried out on one machine: training runs and searches are child processes, revisions are
ModelServers behind the router. Every executor is idempotent, because a redelivered event carries out its
commands again.

What is served follows the Detector's status as it is now, whichever command asks. The status was claimed
before any command ran, so it holds that command's intent and every later one's: a promotion that is carried
out late, after a rollback, does not bring the bad revision back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from homeostat.eventing.errors import Fault, Reject
from homeostat.eventing.messages import (
    Command,
    Promote,
    RollBack,
    ShiftTraffic,
    StartCanary,
    StartTraining,
    StartTuning,
)
from homeostat.functions.detector import Detector, Revision
from homeostat.pipelines.tuning import Trials

from ..shell import Detectors, Execute
from ..tuning_document import document
from .aliases import Aliases
from .runs import Runs
from .serving import Desired, Served, Serving


class Experiments(Protocol):
    """The engine of searches: `tuning.Experiments`."""

    async def submit(self, document: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class Machine:
    """The engines of one home."""

    detectors: Detectors
    runs: Runs
    serving: Serving
    experiments: Experiments | None = None
    aliases: Aliases | None = None


async def start_training(command: StartTraining, detector: Detector, machine: Machine) -> None:
    run = detector.status.run
    cause = run.cause if run and run.name == command.run else detector.cause
    await machine.runs.submit(command, detector.spec, cause)


async def start_tuning(command: StartTuning, detector: Detector, machine: Machine) -> None:
    """Raises Reject for a search that this machine cannot do."""
    if machine.experiments is None:
        mend = "install homeostat[work], or set spec.tuning.when to never"
        raise Reject(
            Fault("StartTuning", command.experiment, f"this home has no engine for searches: {mend}")
        )
    await machine.experiments.submit(document(command, detector.spec, Trials()))


async def serve_what_the_status_says(_: object, detector: Detector, machine: Machine) -> None:
    found = machine.detectors.snapshot(detector.name, detector.now, detector.cause)
    if found is None:
        return
    status = found[0].status
    canary = status.canary
    if status.serving is None and canary is None and machine.serving.desired(detector.name) is None:
        return
    await machine.serving.desire(
        Desired(
            detector=detector.name,
            stable=_served(status.serving),
            canary=_served(canary.revision) if canary else None,
            percent=canary.percent if canary else 0,
            shadow=canary.shadow if canary else False,
            key=found[0].spec.canary.key,
        )
    )
    if machine.aliases:
        champion, challenger = (
            one.version if one else None for one in (status.serving, canary and canary.revision)
        )
        machine.aliases.want(detector.name, champion, challenger)


def _served(revision: Revision | None) -> Served | None:
    return Served(revision.name, revision.uri) if revision else None


EXECUTORS: Mapping[type[Command], Callable[[Any, Detector, Machine], Awaitable[None]]] = {
    StartTraining: start_training,
    StartTuning: start_tuning,
    StartCanary: serve_what_the_status_says,
    ShiftTraffic: serve_what_the_status_says,
    Promote: serve_what_the_status_says,
    RollBack: serve_what_the_status_says,
}


def bound(machine: Machine) -> dict[type[Command], Execute]:
    """The executors of one machine, as the shell calls them."""

    def bind(execute: Callable[[Any, Detector, Machine], Awaitable[None]]) -> Execute:
        return lambda command, detector: execute(command, detector, machine)

    return {kind: bind(execute) for kind, execute in EXECUTORS.items()}
