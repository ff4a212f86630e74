"""Verbs for the broker: dead letters, triggers, history. Orders lie in its file, whether it runs or not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.table import Column, Table
from rich.text import Text

from homeostat.eventing.broker.control import Control, NoSuch
from homeostat.eventing.broker.log import Dead, Logged
from homeostat.eventing.durations import parse_duration
from homeostat.eventing.errors import Fault, Reject, shown

from .terminal import STATE, Output, State, err, fail, out, plain, print_json, settings, told

dead = typer.Typer(help="Dead letters: events that no subscriber would take.", invoke_without_command=True)
trigger = typer.Typer(help="Triggers: how far each one is; let one rest, or go on.", no_args_is_help=True)

Numbers = Annotated[list[int] | None, typer.Argument(help="Letters by number; see `homeostat dead list`.")]
OfTrigger = Annotated[str | None, typer.Option("--trigger", help="All letters of this trigger.")]
Everything = Annotated[bool, typer.Option("--all", help="All letters.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Name = Annotated[str, typer.Argument(help="The trigger's name; see `homeostat trigger list`.")]


@contextmanager
def ordering(state: Any) -> Iterator[Control]:
    """The broker's file. What is not there is told, with exit 3."""
    path = settings(state).broker_db
    if not path.exists():
        mend = "no home has run here; start one with `homeostat up` or give its --state"
        raise Reject(Fault("--state", shown(str(state)), mend))
    control = Control(path)
    try:
        yield control
    except NoSuch as missing:
        fail(str(missing), 3)
    finally:
        control.close()


# --- dead letters ----------------------------------------------------------------------------------------
@dead.callback()
def _dead(context: typer.Context, state: State = STATE, output: Output = "text") -> None:
    if context.invoked_subcommand is None:
        return list_letters(state=state, output=output)
    for name in ("state", "output"):  # the verb has its own, and would not hear of this one
        if (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE":
            fail(f"write --{name} behind {context.invoked_subcommand}", 2)


@dead.command("list")
@told
def list_letters(trigger: OfTrigger = None, state: State = STATE, output: Output = "text") -> None:
    """List the dead letters, and why nobody took them.

    Example: [bold]homeostat dead list --trigger receive-data --output json[/bold]
    """
    with ordering(state) as control:
        letters = [_letter(one) for one in control.letters(trigger=trigger)]
    if output == "json":
        print_json(letters)
        return
    table = Table("number", "type", "subject", Column("refused by", no_wrap=True), "reason")
    for one in letters:
        table.add_row(*(plain(str(one[name])) for name in ("number", "type", "subject", "trigger", "reason")))
    out.print(table if letters else "no dead letters")


@dead.command()
@told
def show(
    number: Annotated[int, typer.Argument(help="The letter's number.")],
    state: State = STATE,
    output: Output = "text",
) -> None:
    """Show one dead letter whole: its event, its data, and what was answered.

    Example: [bold]homeostat dead show 3[/bold]
    """
    with ordering(state) as control:
        (letter,) = control.letters([number])
    document = {**_letter(letter), "event": Logged(0, 0.0, letter.event).document()}
    if output == "json":
        print_json(document)
        return
    for name, value in [*_letter(letter).items(), *letter.event.attributes.items()]:
        out.print(Text(f"{name}  ", "bold") + plain(str(value)), soft_wrap=True)
    out.print(plain((letter.event.data or b"").decode(errors="replace")), soft_wrap=True)


@dead.command()
@told
def redrive(
    numbers: Numbers = None,
    trigger: OfTrigger = None,
    all: Everything = False,
    state: State = STATE,
    output: Output = "text",
) -> None:
    """Deliver dead letters once more, after what refused them was mended.

    Example: [bold]homeostat dead redrive --trigger receive-data[/bold]
    """
    with ordering(state) as control:
        count = control.redrive(_chosen(control, numbers, trigger, all))
    _told_count("redriven", count, output)


@dead.command()
@told
def drop(
    numbers: Numbers = None,
    trigger: OfTrigger = None,
    all: Everything = False,
    yes: Yes = False,
    state: State = STATE,
    output: Output = "text",
) -> None:
    """Forget dead letters for good.

    Example: [bold]homeostat dead drop 3 4[/bold]
    """
    with ordering(state) as control:
        letters = _chosen(control, numbers, trigger, all)
        asks = letters and not (yes or numbers)
        if asks and not typer.confirm(f"Forget {len(letters)} dead letters?", err=True):
            raise typer.Exit(1)
        count = control.drop(letters)
    _told_count("dropped", count, output)


def _chosen(control: Control, numbers: list[int] | None, trigger: str | None, all: bool) -> list[Dead]:
    if not (numbers or trigger or all):
        fail("say which: numbers, --trigger NAME or --all", 2)
    return control.letters(numbers or (), trigger)


def _letter(letter: Dead) -> dict[str, Any]:
    attributes = letter.event.attributes
    return {
        "number": letter.number,
        "id": attributes["id"],
        "type": attributes["type"],
        "subject": attributes.get("subject", ""),
        "trigger": letter.trigger,
        "destination": letter.destination,
        "code": letter.code,
        "reason": letter.reason,
        "at": datetime.fromtimestamp(letter.at).astimezone().isoformat(timespec="seconds"),
    }


def _told_count(word: str, count: int, output: str) -> None:
    if output == "json":
        print_json({word: count})
    else:
        out.print(f"{word} {count}")


# --- triggers --------------------------------------------------------------------------------------------
@trigger.command("list")
@told
def list_triggers(state: State = STATE, output: Output = "text") -> None:
    """List the triggers: events behind the cursor, events to be tried again, dead letters, and which rest.

    Example: [bold]homeostat trigger list[/bold]
    """
    with ordering(state) as control:
        standings = control.triggers()
    if output == "json":
        print_json([{name: getattr(one, name) for name in one.__slots__} for one in standings])
        return
    table = Table("trigger", "lag", "retrying", "dead", "state")
    for one in standings:
        figures = (str(one.lag), str(one.retrying), str(one.dead))
        table.add_row(one.trigger, *figures, "paused" if one.paused else "running")
    out.print(table)


@trigger.command()
@told
def pause(name: Name, state: State = STATE) -> None:
    """Let a trigger rest: events wait, nothing is lost.

    Example: [bold]homeostat trigger pause plan-retraining[/bold]
    """
    with ordering(state) as control:
        out.print(f"{name} {'rests' if control.pause(name) else 'rested already'}")


@trigger.command()
@told
def resume(name: Name, state: State = STATE) -> None:
    """Let a trigger go on where it stopped.

    Example: [bold]homeostat trigger resume plan-retraining[/bold]
    """
    with ordering(state) as control:
        out.print(f"{name} {'goes on' if control.resume(name) else 'did not rest'}")


# --- history ---------------------------------------------------------------------------------------------
@told
def replay(
    trigger: Annotated[str, typer.Option("--trigger", help="Who is to get the events once more.")],
    since: Annotated[str, typer.Option(help="How far back, 2h, or from when, 2026-11-24T10:00:00Z.")],
    until: Annotated[str | None, typer.Option(help="Up to when, in the same forms (default: now).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which events it would be.")] = False,
    state: State = STATE,
    output: Output = "text",
) -> None:
    """Deliver recorded events to a trigger once more. The loop's own functions know what they have handled
    and do nothing twice; other subscribers get everything again.

    Example: [bold]homeostat replay --trigger pager --since 2h --dry-run[/bold]
    """
    from .local.manifest_files import filter_of
    from .views import line

    begin, end = _moment("--since", since), _moment("--until", until) if until else None
    with ordering(state) as control:
        history = control.history(trigger, filter_of(settings(state), trigger), begin, end)
        if dry_run:
            events = list(history)
            if output == "json":
                print_json([one.document() for one in events])
            for one in events if output == "text" else ():
                out.print(plain(line(one.event)), soft_wrap=True)
            err.print(f"{len(events)} events would be delivered to {trigger} once more")
            return
        with err.status("reading history") as progress:
            count = control.replay(trigger, history, lambda n: progress.update(f"{n} events"))
    _told_count("replayed", count, output)


def _moment(option: str, text: str) -> float:
    """Unix time. Raises Reject."""
    with suppress(ValueError):
        return time.time() - parse_duration(text).total_seconds()
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        mend = "write how far back, 30m or 2h, or a time such as 2026-11-24T10:00:00Z"
        raise Reject(Fault(option, shown(text), mend)) from None
