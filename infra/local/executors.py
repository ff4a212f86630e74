"""Commands carried out on one machine: training runs are child processes, revisions are ModelServers behind
the router. Every executor is idempotent, because a redelivered event carries out its commands again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from homeostat.eventing.messages import Command, Promote, RollBack, ShiftTraffic, StartCanary, StartTraining
from homeostat.functions.detector import Detector

from ..shell import Execute
from .runs import Runs
from .serving import Desired, Served, Serving


@dataclass(frozen=True)
class Machine:
    """The engines of one home."""

    runs: Runs
    serving: Serving


async def start_training(command: StartTraining, detector: Detector, machine: Machine) -> None:
    run = detector.status.run
    cause = run.cause if run and run.name == command.run else detector.cause
    await machine.runs.submit(command, detector.spec, cause)


async def start_canary(command: StartCanary, detector: Detector, machine: Machine) -> None:
    now = _desired(command.detector, machine)
    canary = Served(command.revision, command.uri)
    if now.stable != canary:
        await machine.serving.desire(replace(now, canary=canary, percent=command.percent))


async def shift_traffic(command: ShiftTraffic, detector: Detector, machine: Machine) -> None:
    now = _desired(command.detector, machine)
    if now.canary and now.canary.revision == command.revision:
        await machine.serving.desire(replace(now, percent=command.percent))


async def promote(command: Promote, detector: Detector, machine: Machine) -> None:
    now = _desired(command.detector, machine)
    canary = now.canary if now.canary and now.canary.revision != command.revision else None
    stable = Served(command.revision, command.uri)
    await machine.serving.desire(replace(now, stable=stable, canary=canary, percent=0))


async def roll_back(command: RollBack, detector: Detector, machine: Machine) -> None:
    now = _desired(command.detector, machine)
    if now.canary and now.canary.revision == command.revision:
        now = replace(now, canary=None, percent=0)
    if command.restore and command.restore_uri:
        now = replace(now, stable=Served(command.restore, command.restore_uri))
    await machine.serving.desire(now)


def _desired(detector: str, machine: Machine) -> Desired:
    return machine.serving.desired(detector) or Desired(detector, None, None, 0)


EXECUTORS: Mapping[type[Command], Callable[[Any, Detector, Machine], Awaitable[None]]] = {
    StartTraining: start_training,
    StartCanary: start_canary,
    ShiftTraffic: shift_traffic,
    Promote: promote,
    RollBack: roll_back,
}


def bound(machine: Machine) -> dict[type[Command], Execute]:
    """The executors of one machine, as the shell calls them."""

    def bind(execute: Callable[[Any, Detector, Machine], Awaitable[None]]) -> Execute:
        return lambda command, detector: execute(command, detector, machine)

    return {kind: bind(execute) for kind, execute in EXECUTORS.items()}
