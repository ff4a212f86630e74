"""The verbs that show what a home or a cluster does: `events`, `status`, `why`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import orjson
import typer
from rich.table import Table

from .place import place
from .terminal import (
    NAMESPACE,
    STATE,
    Context,
    Namespace,
    Output,
    State,
    out,
    plain,
    print_json,
    settings,
    told,
)


@told
def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    all: Annotated[bool, typer.Option("--all", help="Ticks and logged payloads too.")] = False,
    state: State = STATE,
    output: Output = "text",
) -> None:
    """Print the events that the broker accepted, oldest first.

    Example: [bold]homeostat events --follow[/bold]
    """
    from .local.views import follow_events
    from .views import line

    for logged in follow_events(settings(state), forever=follow, everything=all):
        if output == "json":
            sys.stdout.buffer.write(orjson.dumps(logged.document()) + b"\n")
            sys.stdout.buffer.flush()
        else:
            out.print(plain(line(logged.event)), soft_wrap=True)


@told
def status(
    detector: Annotated[str | None, typer.Argument(help="One Detector only.")] = None,
    state: State = STATE,
    context: Context = None,
    namespace: Namespace = NAMESPACE,
    output: Output = "text",
) -> None:
    """Show what each Detector is doing.

    Example: [bold]homeostat status pump[/bold], on a cluster [bold]homeostat status --context plant[/bold]
    """
    from .views import COLUMNS, status_row

    with place(state, context, namespace) as where:
        documents = [where.detector(detector)] if detector else where.detectors()
    if output == "json":
        print_json(documents[0] if detector else documents)
        return
    table = Table(*COLUMNS)
    for document in documents:
        table.add_row(*map(plain, status_row(document)))
    out.print(table if documents else "no detectors yet: homeostat apply -f detector.yaml")


@told
def why(
    detector: Annotated[str, typer.Argument(help="The Detector's name.")],
    state: State = STATE,
    context: Context = None,
    namespace: Namespace = NAMESPACE,
    output: Output = "text",
) -> None:
    """Print the chain of events from the first cause to the revision that serves now.

    Example: [bold]homeostat why pump[/bold], on a cluster [bold]homeostat why pump --context plant[/bold]
    """
    from .views import line

    with place(state, context, namespace) as where:
        links = where.why(detector)
    if output == "json":
        print_json(
            [{**dict(one.event.attributes), "data": orjson.loads(one.event.data or b"null")} for one in links]
        )
        return
    for depth, link in enumerate(links):
        out.print(plain("  " * depth + ("└─ " if depth else "") + line(link.event)), soft_wrap=True)
        for side in link.beside:
            out.print(plain("  " * (depth + 1) + "·  " + line(side)), soft_wrap=True, style="dim")


VERBS: tuple[Callable[..., None], ...] = (status, why, events)
