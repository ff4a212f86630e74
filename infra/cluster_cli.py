"""`homeostat cluster`: whether a cluster has what the loop needs, and what to install there.

0 all is well, 1 something is missing or differs, 2 wrong usage (diff: and what cannot be told), 3 no answer.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .terminal import (
    Context,
    Output,
    aside,
    err,
    fail,
    out,
    plain,
    print_finding,
    print_json,
    told,
)

if TYPE_CHECKING:
    from .cluster.check_sources import Source

cluster = typer.Typer(
    help="Look at a cluster, and render what is installed there.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

Overlay = Annotated[
    Literal["production", "dev", "minimal"], typer.Option(help="Which of infra/overlays is meant.")
]
Image = Annotated[str | None, typer.Option(metavar="NAME@sha256:DIGEST", help="Instead of the release's.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the ConfigMap homeostat.")
]


@cluster.command()
@told
def check(
    context: Context = None,
    overlay: Overlay = "production",
    offline: Annotated[
        list[Path] | None,
        typer.Option(help="Files or folders of exported objects, instead of a cluster; see --how."),
    ] = None,
    how: Annotated[bool, typer.Option("--how", help="Print the kubectl calls that export them.")] = False,
    output: Output = "text",
) -> None:
    """Say what a cluster lacks of what an overlay needs, each finding with its mend. Nothing is changed.

    Example: [bold]homeostat cluster check --context plant --overlay production[/bold]
    """
    from .cluster.check import examine

    if how:
        _print_how(overlay)
        return
    if offline and (lacking := [str(one) for one in offline if not one.exists()]):
        fail(f"--offline is {', '.join(lacking)}: there is no such file", 2)
    findings = []
    with err.status("reading") as looking, _source(context, offline or []) as source:
        for finding in examine(source, overlay, lambda name: looking.update(f"looking at {name}")):
            findings.append(finding)
            if output == "text":
                with aside(looking):
                    print_finding(finding)
    missing = [one for one in findings if not one.ok]
    if output == "json":
        print_json([one.document() for one in findings])
    else:
        out.print(f"{len(findings)} findings, {len(missing)} to mend")
    if missing:
        raise typer.Exit(1)


@cluster.command()
@told
def render(
    overlay: Overlay = "production",
    image_function: Image = None,
    image_work: Image = None,
    image_postgres: Image = None,
    set: Settings = None,
    output: Output = "text",
) -> None:
    """Print an overlay's objects, as kustomize would; what others need comes first.

    Example: [bold]homeostat cluster render --overlay dev --image-function ghcr.io/me/homeostat@sha256:… |
    kubectl apply --server-side --field-manager homeostat -f -[/bold]
    """
    from .cluster.render import text, unreleased

    objects = _rendered(overlay, image_function, image_work, image_postgres, set)
    for image in sorted({image for one in objects for image in unreleased(one)}):
        err.print(f"{image} has no digest yet: give one with --image-...", style="yellow", soft_wrap=True)
    if output == "json":
        print_json({"apiVersion": "v1", "kind": "List", "items": objects})
    else:
        sys.stdout.write(text(objects))


@cluster.command()
@told
def diff(
    context: Context = None,
    overlay: Overlay = "production",
    image_function: Image = None,
    image_work: Image = None,
    image_postgres: Image = None,
    set: Settings = None,
    field_manager: Annotated[str, typer.Option(help="As which of its managers you apply.")] = "homeostat",
    output: Output = "text",
) -> None:
    """Show what applying an overlay would change, as the cluster itself sees it. Nothing is changed there.

    Example: [bold]homeostat cluster diff --context plant --overlay production[/bold]
    """
    from .cluster.diff import changes
    from .cluster.remote import Api, connected

    objects = _rendered(overlay, image_function, image_work, image_postgres, set)
    found = []
    with err.status("applying without storing") as looking, connected(context) as http:
        for change in changes(Api(http), objects, field_manager):
            looking.update(change.name)
            found.append(change)
            with aside(looking):
                sys.stdout.write(change.lines if output == "text" else "")
                if change.error:
                    err.print(plain(f"{change.name}: {change.error}"), style="red", soft_wrap=True)
    if output == "json":
        print_json([one.document() for one in found])
    if any(one.error for one in found):
        raise typer.Exit(2)
    if any(one.lines for one in found):
        raise typer.Exit(1)


def _print_how(overlay: str) -> None:
    from .cluster.check_sources import export
    from .cluster.kinds import Kind
    from .cluster.render import NAMESPACE, rendered

    for line in export({Kind.of(one) for one in rendered(overlay)}, NAMESPACE):
        out.print(plain(line), soft_wrap=True)


def _rendered(
    overlay: str, function: str | None, work: str | None, postgres: str | None, settings: list[str] | None
) -> list[dict[str, Any]]:
    from .cluster.render import rendered

    images = {"function": function, "work": work, "postgres": postgres}
    return rendered(overlay, images, settings or ())


@contextlib.contextmanager
def _source(context: str | None, offline: list[Path]) -> Iterator[Source]:
    from .cluster.check_sources import Exported, Live
    from .cluster.remote import Api, connected

    if offline:
        yield Exported(offline)
        return
    with connected(context) as http:
        yield Live(Api(http))
