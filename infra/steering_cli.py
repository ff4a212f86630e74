"""The verbs by which people steer a rollout: `promote`, `rollback`, `pause`, `resume`, and `approve`.

Each is an event, which the home decides on as on any other. What cannot be meant is refused before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from homeostat.eventing import codec
from homeostat.eventing.messages import ApprovalGiven, Event, RollbackRequested, RolloutRequested

from .place import place
from .terminal import NAMESPACE, STATE, Context, Namespace, Output, State, fail, out, plain, print_json, told

Status = Mapping[str, Any]
Name = Annotated[str, typer.Argument(help="The Detector's name.")]
Reason = Annotated[str, typer.Option(help="Why; it stands in the events and in `homeostat why`.")]
By = Annotated[str, typer.Option(help="Who says so.")]
BY_HAND = "by hand"


@dataclass(frozen=True, slots=True)
class Where:
    state: Path
    context: str | None
    namespace: str
    output: Literal["text", "json"]


@told
def promote(
    detector: Name,
    reason: Reason = BY_HAND,
    by: By = "",
    state: State = STATE,
    context: Context = None,
    namespace: Namespace = NAMESPACE,
    output: Output = "text",
) -> None:
    """Give the canary all traffic now, as it is.

    Example: [bold]homeostat promote pump --reason "seen enough" --by ada[/bold], on a cluster
    [bold]homeostat promote pump --context plant[/bold]
    """
    asked = RolloutRequested(action="promote", reason=reason, by=by)
    _send(detector, Where(state, context, namespace, output), lambda status: (_canary(status), asked))


@told
def pause(
    detector: Name,
    reason: Reason = BY_HAND,
    by: By = "",
    state: State = STATE,
    context: Context = None,
    namespace: Namespace = NAMESPACE,
    output: Output = "text",
) -> None:
    """Keep the canary at its share of the traffic; it is still taken back when it is worse.

    Example: [bold]homeostat pause pump --reason "over the weekend"[/bold], and then
    [bold]homeostat resume pump[/bold]
    """
    asked = RolloutRequested(action="pause", reason=reason, by=by)
    _send(detector, Where(state, context, namespace, output), lambda status: (_moving(status), asked))


@told
def resume(
    detector: Name,
    reason: Reason = BY_HAND,
    by: By = "",
    state: State = STATE,
    context: Context = None,
    namespace: Namespace = NAMESPACE,
    output: Output = "text",
) -> None:
    """Let a canary that was paused go on.

    Example: [bold]homeostat resume pump --by ada[/bold]
    """
    asked = RolloutRequested(action="resume", reason=reason, by=by)
    _send(detector, Where(state, context, namespace, output), lambda status: (_paused(status), asked))


@told
def rollback(
    detector: Name,
    reason: Reason = BY_HAND,
    by: By = "",
    state: State = STATE,
    context: Context = None,
    namespace: Namespace = NAMESPACE,
    output: Output = "text",
) -> None:
    """Take the canary back, or without one, what serves: the revision before it serves again.

    Example: [bold]homeostat rollback pump --reason "night shift saw false alarms" --by ada[/bold]
    """

    def asked(status: Status) -> tuple[str, Event]:
        # Named, so that it still means this revision should it be promoted meanwhile.
        revision = _bad(status)
        return revision, RollbackRequested(reason=f"{reason} ({by})" if by else reason, revision=revision)

    _send(detector, Where(state, context, namespace, output), asked)


@told
def approve(
    detector: Name,
    request: Annotated[str | None, typer.Argument(help="The approval.requested event's id.")] = None,
    by: By = "",
    state: State = STATE,
    context: Context = None,
    namespace: Namespace = NAMESPACE,
    output: Output = "text",
) -> None:
    """Say yes to what waits for approval; without an id, list what waits.

    Example: [bold]homeostat approve pump[/bold], and then [bold]homeostat approve pump 7c0e… --by ada[/bold]
    """
    with place(state, context, namespace) as where:
        held = where.detector(detector)["status"]["held"]
        if request is None:
            _list(held, output)
            return
        if request not in [one["id"] for one in held]:
            waiting = ", ".join(one["id"] for one in held) or "nothing"
            fail(f"{request} does not wait for approval; what does: {waiting}", 3)
        given = ApprovalGiven(approves=request, by=by)
        identity = where.post(given.type, detector, codec.data(given), cause=request)
    if output == "json":
        print_json({"id": identity, "type": ApprovalGiven.type, "subject": detector, "approves": request})
    else:
        out.print(plain(f"approved {request}"))


def _list(held: list[Mapping[str, Any]], output: str) -> None:
    if output == "json":
        print_json(
            [{"id": one["id"], "function": one["function"], "commands": one["commands"]} for one in held]
        )
        return
    for one in held:
        out.print(plain(f"{one['id']}  {', '.join(one['commands'])}"), soft_wrap=True)


def _send(detector: str, at: Where, asked: Callable[[Status], tuple[str, Event]]) -> None:
    """Look at the Detector, and post what is asked of the revision that is found there."""
    with place(at.state, at.context, at.namespace) as where:
        revision, event = asked(where.detector(detector)["status"])
        identity = where.post(event.type, detector, codec.data(event))
    verb = getattr(event, "action", "rollback")
    if at.output == "json":
        print_json(
            {"id": identity, "type": event.type, "subject": detector, "action": verb, "revision": revision}
        )
    else:
        out.print(plain(f"asked to {verb} {revision}: {event.type} {identity}"), soft_wrap=True)


# --- what can be meant -----------------------------------------------------------------------------------
def _canary(status: Status) -> str:
    """The revision on trial. Fails when there is none."""
    if not status.get("canary"):
        fail("there is no canary; `homeostat status` shows what the detector does", 3)
    return str(status["canary"]["revision"]["name"])


def _moving(status: Status) -> str:
    revision = _canary(status)
    if status["canary"].get("paused"):
        fail(f"the canary {revision} is paused already; `homeostat resume` lets it go on")
    return revision


def _paused(status: Status) -> str:
    revision = _canary(status)
    if not status["canary"].get("paused"):
        fail(f"the canary {revision} is not paused; `homeostat pause` would hold it at its share")
    return revision


def _bad(status: Status) -> str:
    if status.get("canary"):
        return _canary(status)
    if not status.get("serving") or not status.get("previous"):
        fail("there is nothing to go back to: no canary, and no revision before the one that serves", 3)
    return str(status["serving"]["name"])


VERBS: tuple[Callable[..., None], ...] = (promote, rollback, pause, resume, approve)
