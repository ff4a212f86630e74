"""The imperative shell around one decision, the same in every home.

    parse -> snapshot -> measure -> decide -> claim (compare-and-swap) -> commands -> events -> done

The status is claimed before any command runs, so a race that is lost has done nothing and decides again. A
crash at any point means redelivery; what was decided is found again and finished, never decided twice. All
commands are idempotent by name, all events by id.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from homeostat import functions
from homeostat.eventing import codec
from homeostat.eventing.errors import Fault, Reject, Retry, shown
from homeostat.eventing.messages import (
    COMMANDS,
    EVENTS,
    CanaryTick,
    Command,
    Event,
    ExperimentAdded,
    ExperimentChanged,
)
from homeostat.eventing.wire import WireEvent
from homeostat.functions.detector import Cause, Detector, Message, Remember, Status
from homeostat.functions.spec import Spec

from .outcome import Claim, Outcome

log = logging.getLogger(__name__)

OBSERVED = (CanaryTick, ExperimentAdded, ExperimentChanged)
"""Events that cause nothing: what happens on them goes back to what began the work that is in flight."""

ATTEMPTS = 20
"""So often a lost race is decided again before the event goes back to its sender."""

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
    def carried_out(self, name: str, key: str) -> None: ...
    def unfinished(self) -> list[tuple[str, str, Outcome]]: ...


@dataclass(frozen=True)
class Host:
    """What a home gives its functions: storage, a way to post, hands and eyes."""

    detectors: Detectors
    emit: Emit
    executors: Mapping[type[Command], Execute] = field(default_factory=dict)
    observers: Mapping[type[Any], Observe] = field(default_factory=dict)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


async def handle(function: str, event: WireEvent, host: Host) -> None:
    """Handle one event to the end. Raises Reject or Retry; when it returns, everything is carried out."""
    message, context = codec.parse(event)
    decide = functions.FUNCTIONS[function]
    if not isinstance(message, functions.wakes_on(decide)):
        types = ", ".join(kind.type for kind in functions.wakes_on(decide))
        raise Reject(Fault("type", shown(context.type), f"{function} wakes on {types}"))
    key = " ".join((*event.key, function))
    names = _spoken_of(message, context, host)
    each = [_handle_for(function, name, key, message, context, host) for name in names]
    # Every detector gets its turn, whatever goes wrong with another one.
    ends = await asyncio.gather(*each, return_exceptions=True)
    failures = [end for end in ends if isinstance(end, BaseException)]
    # Sent again, the event is looked at once more by those that failed: never dead-lettered for one refusal.
    for failure in sorted(failures, key=lambda one: isinstance(one, Reject)):
        raise failure


def _spoken_of(message: Event, context: codec.Context, host: Host) -> list[str]:
    """The detectors that an event speaks of: its subject, or all when it only says that time passed."""
    if context.subject is not None:
        return [context.subject]
    if isinstance(message, CanaryTick):
        return host.detectors.names()
    if isinstance(message, OBSERVED):
        return []  # somebody else's object
    raise Reject(Fault("subject", "missing", "name the detector in the event's subject"))


async def _handle_for(
    function: str, name: str, key: str, message: Event, context: codec.Context, host: Host
) -> None:
    claimed = await asyncio.to_thread(host.detectors.claimed, name, key)
    if claimed is None:
        claimed = await _claim(function, name, key, message, context, host)
    if claimed.outcome is not None:
        await _finish(name, key, claimed.outcome, host)


async def _finish(name: str, key: str, outcome: Outcome, host: Host) -> None:
    for command in outcome.commands:
        await host.executors[type(command)](command, outcome.detector)
    if outcome.events:
        await host.emit(outcome.events)
    await asyncio.to_thread(host.detectors.carried_out, name, key)


async def finish_all(host: Host) -> None:
    """Carry out what was decided and never finished: its event may have become a dead letter since."""
    for name, key, outcome in await asyncio.to_thread(host.detectors.unfinished):
        try:
            await _finish(name, key, outcome, host)
        except Exception:
            log.exception("what %s decided on %s cannot be carried out", name, key)


async def _claim(
    function: str, name: str, key: str, message: Event, context: codec.Context, host: Host
) -> Claim:
    """Decide, and claim the decision by compare-and-swap, again and again while others are faster."""
    decide = functions.FUNCTIONS[function]
    observe = host.observers.get(functions.observes(decide) or type(None))
    cause = Cause(
        id=context.id,
        correlationid=context.correlationid,
        hops=context.hops,
        traceparent=context.traceparent,
    )
    for _ in range(ATTEMPTS):
        found = await asyncio.to_thread(host.detectors.snapshot, name, host.clock(), cause)
        if found is None:
            known = ", ".join(host.detectors.names()) or "none yet"
            mend = f"apply a Detector of that name first (known: {known})"
            raise Reject(Fault("subject", shown(name), mend))
        detector, version = found
        facts = [] if observe is None else [await observe(message, context, detector)]
        messages = list(decide(message, detector, *facts))
        status = _status(messages, detector)
        outcome = _outcome(function, messages, status, message, detector)
        if outcome.is_empty and status == detector.status:
            return Claim(None)
        if await asyncio.to_thread(host.detectors.commit, name, version, status, key, outcome):
            return Claim(None if outcome.is_empty else outcome)
        twin = await asyncio.to_thread(host.detectors.claimed, name, key)
        if twin is not None:
            return twin
    raise Retry(f"{name} is being changed by many at once", after=1)


def _status(messages: Sequence[Message], detector: Detector) -> Status:
    remembered = [one.status for one in messages if isinstance(one, Remember)]
    return remembered[-1] if remembered else detector.status


def _outcome(
    function: str, messages: Sequence[Message], status: Status, woke: Event, detector: Detector
) -> Outcome:
    facts = [one for one in messages if isinstance(one, EVENTS)]
    begun = detector.status.under_way if isinstance(woke, OBSERVED) else None
    cause = begun or detector.cause
    events = [
        codec.announce(
            fact,
            id=codec.identity(detector.cause.id, function, detector.name, place),
            source=f"/homeostat/functions/{function}",
            subject=detector.name,
            cause=cause,
            now=detector.now,
        )
        for place, fact in enumerate(facts)
    ]
    return Outcome(
        detector=detector.model_copy(update={"status": status}),
        commands=[one for one in messages if isinstance(one, COMMANDS)],
        events=events,
    )
