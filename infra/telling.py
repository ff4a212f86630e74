"""Trouble as events: what is told when decided work is hindered, and when it is resumed.

Their ids derive from the event that was decided on, as those of the decision's own events do: told twice, it
is the same event.
"""

from __future__ import annotations

from datetime import datetime

from homeostat.eventing import codec
from homeostat.eventing.messages import Event, WorkHindered, WorkResumed
from homeostat.eventing.wire import WireEvent
from homeostat.functions.approval import tell

from .outcome import Outcome
from .trouble import Trouble, rfc3339


def hindered(outcome: Outcome, trouble: Trouble, now: datetime) -> WireEvent:
    fact = WorkHindered(function=outcome.function, commands=_commands(outcome), reason=trouble.reason)
    return _told(fact, f"hindered {trouble.kind}", outcome, now)


def resumed(outcome: Outcome, trouble: Trouble, now: datetime) -> WireEvent:
    since = rfc3339(trouble.since)
    fact = WorkResumed(
        function=outcome.function, commands=_commands(outcome), reason=trouble.reason, since=since
    )
    return _told(fact, f"resumed {trouble.kind} {since}", outcome, now)


def _commands(outcome: Outcome) -> tuple[str, ...]:
    return tuple(map(tell, outcome.commands))


def _told(fact: Event, what: str, outcome: Outcome, now: datetime) -> WireEvent:
    detector = outcome.detector
    return codec.announce(
        fact,
        id=codec.identity(f"{detector.cause.id} {what}", outcome.function, detector.name, 0),
        source=f"/homeostat/functions/{outcome.function}",
        subject=detector.name,
        cause=outcome.cause or detector.cause,
        now=now,
    )
