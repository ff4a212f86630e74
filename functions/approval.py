"""`mode: suggest`: a decision that holds commands asks first; so does a promotion that is left to people
(`canary.approval`), in every mode.

What is kept is the event that led to the decision, not the commands: on `approval.given` the decision is
taken anew, with the status and the guards of that moment, so that an old approval cannot do old harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Concatenate, ParamSpec

from homeostat.eventing import codec
from homeostat.eventing.messages import (
    COMMANDS,
    ApprovalGiven,
    ApprovalRequested,
    CanaryJudged,
    CanaryTick,
    Command,
    Event,
    Promote,
    RollBack,
    ShiftTraffic,
    StartCanary,
    StartTraining,
    StartTuning,
)

from .detector import Detector, Held, Message, Remember
from .verdicts import words

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
            if not commands:
                return messages
            if _asks(event, commands, detector):
                return _ask(function, event, detector, commands, messages)
            return [_without_questions(function, one) for one in messages]

        return decision

    return wrapper


def _asks(event: Event, commands: Sequence[Command], detector: Detector) -> bool:
    """In mode `act`, only where the loop would promote and people want to be asked: who promotes by hand has
    been asked already."""
    if detector.spec.mode == "suggest":
        return True
    by_itself = isinstance(event, CanaryTick) and any(isinstance(one, Promote) for one in commands)
    return by_itself and detector.spec.canary.approval == "promotion"


def tell(command: Command) -> str:
    """A command as people approve it: what is done to which run or revision. The rows that a training reads
    may still grow while the question stands."""
    match command:
        case StartTraining():
            return f"StartTraining {command.run}"
        case StartTuning():
            return f"StartTuning {command.experiment} of {command.algorithm}"
        case StartCanary() | ShiftTraffic():
            return f"{type(command).__name__} {command.revision} to {command.percent} %"
        case RollBack():
            return f"RollBack {command.revision} to {command.restore or 'nothing'}"
        case Promote():
            return f"Promote {command.revision}"


def _without_questions(function: str, message: Message) -> Message:
    """Acting answers whatever the function asked before its mode was changed."""
    if not isinstance(message, Remember):
        return message
    held = tuple(one for one in message.status.held if one.function != function)
    return Remember(message.status.model_copy(update={"held": held}))


def _ask(
    function: str,
    event: Event,
    detector: Detector,
    commands: Sequence[Command],
    messages: Sequence[Message],
) -> Iterable[Message]:
    wanted = tuple(map(tell, commands))
    # A verdict is no command: those who are asked must know it.
    judged = [one for one in messages if isinstance(one, CanaryJudged)]
    if judged:
        detector = _having_told(judged[0], detector)
        yield from judged
    held = detector.status.held
    if any(one.function == function and one.commands == wanted for one in held):
        yield detector.remember()
        return
    request = Held(
        id=codec.identity(detector.cause.id, function, detector.name, 0),
        function=function,
        commands=wanted,
        type=event.type,
        data=codec.data(event),
        cause=detector.cause,
    )
    # One question at a time per function and kind of event: a newer intent replaces the one that it made
    # stale. What people want (a rollback) does not make stale what the loop waits for (a canary).
    others = tuple(one for one in held if (one.function, one.type) != (function, event.type))
    yield detector.remember(held=(*others, request), message=f"waits for approval of {', '.join(wanted)}")
    yield ApprovalRequested(function=function, commands=wanted)


def _having_told(verdict: CanaryJudged, detector: Detector) -> Detector:
    canary = detector.status.canary
    told = canary and canary.model_copy(update={"told": words(verdict.outcome, verdict.reason)})
    return detector.model_copy(update={"status": detector.status.model_copy(update={"canary": told})})


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
