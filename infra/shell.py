"""The imperative shell around one decision, the same in every home.

    parse -> snapshot -> measure -> decide -> claim (compare-and-swap) -> commands -> events -> done

The status is claimed before any command runs, so a race that is lost has done nothing and decides again. A
crash at any point means redelivery; what was decided is found again and finished, never decided twice. All
commands are idempotent by name, all events by id. What hinders the work is stated on the Detector and told in
an event, once; so is that it is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from homeostat import functions
from homeostat.eventing import codec
from homeostat.eventing.errors import Fault, Reject, Retry, shown
from homeostat.eventing.messages import (
    COMMANDS,
    EVENTS,
    CanaryTick,
    Event,
    ExperimentAdded,
    ExperimentChanged,
)
from homeostat.eventing.wire import WireEvent
from homeostat.functions.detector import Cause, Detector, Message, Remember, Status

from . import logs, telling, tracing, trouble
from .host import Detectors, Emit, Execute, Host, Observe
from .outcome import Claim, Outcome
from .served import called
from .trouble import Trouble

Found = TypeVar("Found")
Decided = Callable[[str, Event, Detector, Sequence[Message]], None]
"""Told of each decision that was claimed: the function, what woke it, the snapshot, the messages."""

log = logging.getLogger(__name__)

OBSERVED = (CanaryTick, ExperimentAdded, ExperimentChanged)
"""Events that cause nothing: what happens on them goes back to what began the work that is in flight."""

ATTEMPTS = 20
"""So often a lost race is decided again before the event goes back to its sender."""


@dataclass(frozen=True, slots=True)
class _Waking:
    """An event that woke a function."""

    function: str
    event: WireEvent
    message: Event
    context: codec.Context
    decided: Decided

    @property
    def key(self) -> str:
        return " ".join((*self.event.key, self.function))

    @property
    def cause(self) -> Cause:
        where = self.context
        return Cause(
            id=where.id,
            correlationid=where.correlationid,
            hops=where.hops,
            traceparent=where.traceparent,
        )


async def handle(function: str, event: WireEvent, host: Host, decided: Decided = lambda *_: None) -> None:
    """Handle one event to the end. Raises Reject or Retry; when it returns, everything is carried out."""
    with tracing.invocation(function, event) as span:
        message, context = codec.parse(event)
        decide = functions.FUNCTIONS[function]
        if not isinstance(message, functions.wakes_on(decide)):
            types = ", ".join(kind.type for kind in functions.wakes_on(decide))
            raise Reject(Fault("type", shown(context.type), f"{function} wakes on {types}"))
        context = replace(context, traceparent=span.traceparent)
        names = await _spoken_of(message, context, host)
        await _handle_all(names, _Waking(function, event, message, context, decided), host)


async def _handle_all(names: Sequence[str], waking: _Waking, host: Host) -> None:
    # Every detector gets its turn, whatever goes wrong with another one.
    ends = await asyncio.gather(*(_handle_for(name, waking, host) for name in names), return_exceptions=True)
    failures = [end for end in ends if isinstance(end, BaseException)]
    # Sent again, the event is looked at once more by those that failed: never dead-lettered for one refusal.
    for failure in sorted(failures, key=lambda one: isinstance(one, Reject)):
        raise failure


async def _spoken_of(message: Event, context: codec.Context, host: Host) -> list[str]:
    """The detectors that an event speaks of: its subject, or all when it only says that time passed."""
    if context.subject is not None:
        return [context.subject]
    if isinstance(message, CanaryTick):
        names = await _asked(host, None, host.detectors.names)
        host.missed.listed(names)
        return names
    if isinstance(message, OBSERVED):
        return []  # somebody else's object
    raise Reject(Fault("subject", "missing", "name the detector in the event's subject"))


async def _handle_for(name: str, waking: _Waking, host: Host) -> None:
    with logs.about(detector=name):
        claimed = await _asked(host, name, host.detectors.claimed, name, waking.key)
        if claimed is None:
            claimed = await _claim(name, waking, host)
        if claimed.outcome is not None:
            await _finish(name, waking.key, claimed.outcome, host)


async def _asked(host: Host, name: str | None, call: Callable[..., Found], *arguments: Any) -> Found:
    """What the Detectors answer, asked beside the event loop. Until they do, what is in the way is noted."""
    try:
        return await asyncio.to_thread(call, *arguments)
    except Exception as error:
        host.missed.note(name, error, host.clock())
        raise


async def _finish(name: str, key: str, outcome: Outcome, host: Host) -> None:
    missed = outcome.missed or host.missed.of(name)
    was = [one for one in (outcome.trouble, missed) if one and one.kind != trouble.WAITING]
    over = [telling.resumed(outcome, one, host.clock()) for one in was]
    trace = outcome.cause.traceparent if outcome.cause else None
    try:
        for command in outcome.commands:
            with tracing.step(f"carry out {type(command).__name__}", trace):
                await host.executors[type(command)](command, outcome.detector)
        if outcome.events or over:
            with tracing.step("post", trace, "producer"):
                await host.emit([*outcome.events, *over])
    except Exception as error:
        await _state(trouble.of(error, host.clock()), name, key, outcome, host)
        raise
    last = await _asked(host, name, host.detectors.carried_out, name, key, host.clock(), missed, over)
    host.missed.told(name)
    if last and last.kind != trouble.WAITING and not outcome.trouble:  # a twin of ours was hindered meanwhile
        await host.emit([telling.resumed(outcome, last, host.clock())])


async def _state(found: Trouble, name: str, key: str, outcome: Outcome, host: Host) -> None:
    """State what hinders. What fails in doing so must not hide it from the event's sender."""
    said = telling.hindered(outcome, found, host.clock())
    try:
        first = await _asked(host, name, host.detectors.hindered, name, key, found, said)
        if first and found.kind != trouble.WAITING:
            await host.emit([said])
    except Exception:
        log.warning("%s: cannot say that this is in the way: %s", name, found.reason, exc_info=True)


async def finish_all(host: Host) -> None:
    """Carry out what was decided and never finished: its event may have become a dead letter since."""
    for name, key, outcome in await asyncio.to_thread(host.detectors.unfinished):
        try:
            await _finish(name, key, outcome, host)
        except Exception:
            log.exception("what %s decided on %s cannot be carried out", name, key)


async def _claim(name: str, waking: _Waking, host: Host) -> Claim:
    """Decide, and claim the decision by compare-and-swap, again and again while others are faster."""
    decide, key = functions.FUNCTIONS[waking.function], waking.key
    for _ in range(ATTEMPTS):
        found = await _asked(host, name, host.detectors.snapshot, name, host.clock(), waking.cause)
        if found is None:
            host.missed.told(name)
            known = ", ".join(await asyncio.to_thread(host.detectors.names)) or "none yet"
            mend = f"apply a Detector of that name first (known: {known})"
            raise Reject(Fault("subject", shown(name), mend))
        detector, version = found
        messages = list(decide(waking.message, detector, *await _facts(waking, detector, host)))
        status = _status(messages, detector)
        outcome = replace(_outcome(waking, messages, status, detector), missed=host.missed.of(name))
        if outcome.is_empty and status == detector.status:
            return Claim(None)
        if await _asked(host, name, host.detectors.commit, name, version, status, key, outcome):
            host.missed.told(name)
            waking.decided(waking.function, waking.message, detector, messages)
            tracing.decided(name, called(messages))
            return Claim(None if outcome.is_empty else outcome)
        twin = await _asked(host, name, host.detectors.claimed, name, key)
        if twin is not None:
            return twin
    raise Retry(f"{name} is being changed by many at once", after=1)


async def _facts(waking: _Waking, detector: Detector, host: Host) -> list[Any]:
    """What the decision needs measured."""
    observe = host.observers.get(functions.observes(functions.FUNCTIONS[waking.function]) or type(None))
    if observe is None:
        return []
    try:
        with tracing.step("observe", waking.context.traceparent):
            return [await observe(waking.message, waking.context, detector)]
    except Retry as error:
        host.missed.note(detector.name, error, host.clock())
        raise


def _status(messages: Sequence[Message], detector: Detector) -> Status:
    remembered = [one.status for one in messages if isinstance(one, Remember)]
    return remembered[-1] if remembered else detector.status


def _outcome(waking: _Waking, messages: Sequence[Message], status: Status, detector: Detector) -> Outcome:
    cause = _cause(status, waking.message, detector)
    if cause is not detector.cause and (said := called(messages)):
        trace = tracing.continued(waking.function, cause.traceparent, detector.name, said)
        cause = cause.model_copy(update={"traceparent": trace})
    events = [
        codec.announce(
            fact,
            id=codec.identity(detector.cause.id, waking.function, detector.name, place),
            source=f"/homeostat/functions/{waking.function}",
            subject=detector.name,
            cause=cause,
            now=detector.now,
        )
        for place, fact in enumerate(one for one in messages if isinstance(one, EVENTS))
    ]
    return Outcome(
        detector=detector.model_copy(update={"status": status}),
        commands=[one for one in messages if isinstance(one, COMMANDS)],
        events=events,
        function=waking.function,
        cause=cause,
        woke=waking.event,
    )


def _cause(status: Status, woke: Event, detector: Detector) -> Cause:
    """What is only observed caused nothing: what happens on it goes back to the event that began what is in
    flight, or that what starts now answers."""
    begun = detector.status.under_way or status.under_way
    return begun if begun and isinstance(woke, OBSERVED) else detector.cause


__all__ = ["ATTEMPTS", "Detectors", "Emit", "Execute", "Host", "Observe", "finish_all", "handle"]
