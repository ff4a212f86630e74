"""What a home gives the shell of its functions: where Detectors live, a way to post, hands and eyes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from homeostat.eventing import codec
from homeostat.eventing.messages import Command
from homeostat.eventing.wire import WireEvent
from homeostat.functions.detector import Cause, Detector, Status
from homeostat.functions.spec import Spec

from .outcome import Claim, Outcome
from .trouble import Missed, Trouble

Emit = Callable[[Sequence[WireEvent]], Awaitable[None]]
Execute = Callable[[Any, Detector], Awaitable[None]]
Observe = Callable[[Any, codec.Context, Detector], Awaitable[Any]]


class Detectors(Protocol):
    """Where detectors live: SQLite on one machine, the custom resource on a cluster."""

    def names(self) -> list[str]: ...
    def apply(self, name: str, spec: Spec) -> str: ...
    def snapshot(self, name: str, now: datetime, cause: Cause) -> tuple[Detector, int] | None: ...
    def claimed(self, name: str, key: str) -> Claim | None: ...
    def commit(self, name: str, version: int, status: Status, key: str, outcome: Outcome) -> bool: ...
    def carried_out(
        self,
        name: str,
        key: str,
        now: datetime,
        missed: Trouble | None = None,
        told: Sequence[WireEvent] = (),
    ) -> Trouble | None:
        """Nothing is left to do, and what had kept us from the Detector (`missed`) is over; `told` are the
        events that say so. What had hindered the work until this moment, as far as it is known there."""

    def hindered(self, name: str, key: str, trouble: Trouble, telling: WireEvent) -> bool:
        """State it on the Detector. False when it is stated already, or nothing is left to do."""

    def unfinished(self) -> list[tuple[str, str, Outcome]]: ...


@dataclass(frozen=True)
class Host:
    """What a home gives its functions: storage, a way to post, hands and eyes."""

    detectors: Detectors
    emit: Emit
    executors: Mapping[type[Command], Execute] = field(default_factory=dict)
    observers: Mapping[type[Any], Observe] = field(default_factory=dict)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    missed: Missed = field(default_factory=Missed)
