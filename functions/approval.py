"""`mode: suggest`: a decision that holds commands asks first.

What is kept is the event that led to the decision, not the commands: on `approval.given` the decision is
taken anew, with the status and the guards of that moment, so that an old approval cannot do old harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Concatenate, ParamSpec

from homeostat.eventing import codec
from homeostat.eventing.messages import COMMANDS, ApprovalGiven, ApprovalRequested, Command, Event

from .detector import Detector, Held, Message

P = ParamSpec("P")
Decide = Callable[Concatenate[Event, Detector, P], Iterable[Message]]


def asks_in_suggest_mode(
    function: str,
) -> Callable[[Callable[..., Iterable[Message]]], Callable[..., Iterable[Message]]]:
    """Wrap a decision so that `mode: suggest` holds its commands back until they are approved."""

    def wrapper(decide: Callable[..., Iterable[Message]]) -> Callable[..., Iterable[Message]]:
        @wraps(decide)
        def decision(event: Event, detector: Detector, *facts: object) -> Iterable[Message]:
            if isinstance(event, ApprovalGiven):
                return _approved(function, decide, event, detector, *facts)
            messages = list(decide(event, detector, *facts))
            commands = [one for one in messages if isinstance(one, COMMANDS)]
            if detector.spec.mode == "act" or not commands:
                return messages
            return _ask(function, event, detector, commands)

        return decision

    return wrapper


def _ask(function: str, event: Event, detector: Detector, commands: list[Command]) -> Iterable[Message]:
    wanted = tuple(map(repr, commands))
    held = detector.status.held
    if any(one.function == function and one.commands == wanted for one in held):
        return
    request = Held(
        id=codec.identity(detector.cause.id, function, detector.name, 0),
        function=function,
        commands=wanted,
        type=event.type,
        data=codec.data(event),
        cause=detector.cause,
    )
    # One question at a time per function: a newer intent replaces the one that it made stale.
    others = tuple(one for one in held if one.function != function)
    yield detector.remember(held=(*others, request), message=f"waits for approval of {', '.join(wanted)}")
    yield ApprovalRequested(function=function, commands=wanted)


def _approved(
    function: str,
    decide: Callable[..., Iterable[Message]],
    event: ApprovalGiven,
    detector: Detector,
    *facts: object,
) -> Iterable[Message]:
    """Take the held decision anew, as the event that it was about, without asking again."""
    request = next((one for one in detector.status.held if one.id == event.approves), None)
    if request is None or request.function != function:
        return
    left = tuple(one for one in detector.status.held if one.id != request.id)
    status = detector.status.model_copy(update={"held": left, "message": f"approved by {event.by or 'hand'}"})
    acting = detector.model_copy(update={"status": status, "cause": request.cause})
    messages = list(decide(codec.message(codec.BY_TYPE[request.type], request.data), acting, *facts))
    if not messages:
        yield acting.remember()
    yield from messages
