"""`homeostat tokens`: make, list and revoke what opens a door. A running home notices within a second."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from homeostat.eventing.doors import DOORS, token_file
from homeostat.eventing.durations import parse_duration
from homeostat.eventing.errors import Fault, Reject, shown

from .terminal import STATE, Output, State, err, fail, out, print_json, settings, told

tokens = typer.Typer(
    help="Bearer tokens, a set for each door: " + ", ".join(DOORS) + ".",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@tokens.command()
@told
def create(
    door: Annotated[str, typer.Argument(help="The door that it opens.")],
    name: Annotated[str | None, typer.Option(help="What to call it (default: made up).")] = None,
    expires: Annotated[str | None, typer.Option(help="How long it holds, such as 90d.")] = None,
    state: State = STATE,
    output: Output = "text",
) -> None:
    """Make a token and show it, this once; from now on its door asks for one.

    Example: [bold]homeostat tokens create alertmanager --name am-2026 --expires 90d[/bold]
    """
    try:
        lifetime = parse_duration(expires) if expires else None
    except ValueError as error:
        raise Reject(Fault("--expires", shown(expires), str(error))) from None
    entry, token = token_file.create(settings(state).tokens_file, door, name, lifetime)
    document = entry.document(datetime.now(UTC)) | {"token": token}
    if output == "json":
        print_json(document)
        return
    until = f", until {document['expires']}" if entry.expires else ""
    err.print(f"{entry.name} opens {entry.door}{until}; it is shown this once:", markup=False)
    # Nothing else on standard output, so that a script can keep it.
    out.print(token, markup=False, highlight=False, soft_wrap=True)


@tokens.command(name="list")
@told
def list_tokens(state: State = STATE, output: Output = "text") -> None:
    """List the tokens, never what they are; and the doors that ask for one.

    Example: [bold]homeostat tokens list --output json[/bold]
    """
    file = token_file.entries(settings(state).tokens_file)
    now = datetime.now(UTC)
    documents = [one.document(now) for one in file.tokens]
    if output == "json":
        print_json({"closed": list(file.closed), "tokens": documents})
        return
    table = Table("name", "door", "state", "created", "expires")
    for one in documents:
        table.add_row(
            *(str(one[column] or "never") for column in ("name", "door", "state", "created", "expires"))
        )
    out.print(table if documents else "no tokens: homeostat tokens create DOOR")
    held = {one["door"] for one in documents if one["state"] == "valid"}
    for door in sorted(set(file.closed) - held):
        out.print(f"{door} is closed and has no valid token: homeostat tokens create {door}", markup=False)


@tokens.command()
@told
def revoke(
    name: Annotated[str, typer.Argument(help="The token's name.")],
    state: State = STATE,
    output: Output = "text",
) -> None:
    """Take a token away. Its door stays closed, even without its last one.

    Example: [bold]homeostat tokens revoke am-2025[/bold]
    """
    path = settings(state).tokens_file
    known = [one.name for one in token_file.entries(path).tokens]
    if name not in known:
        fail(f"there is no token {name!r}; there are: {', '.join(known) or 'none'}", 3)
    entry = token_file.revoke(path, name)
    if output == "json":
        print_json({"name": entry.name, "door": entry.door, "state": "revoked"})
    else:
        out.print(f"revoked {entry.name} of {entry.door}", markup=False)


@tokens.command()
@told
def reopen(
    door: Annotated[str, typer.Argument(help="A closed door without tokens.")],
    state: State = STATE,
    output: Output = "text",
) -> None:
    """Let a door ask for no token any more; for a home on loopback only.

    Example: [bold]homeostat tokens reopen broker[/bold]
    """
    token_file.reopen(settings(state).tokens_file, door)
    if output == "json":
        print_json({"door": door, "state": "open"})
    else:
        out.print(f"{door} asks for no token on loopback", markup=False)
