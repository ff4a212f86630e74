"""The command line. Every verb says what went wrong by field, value and mend, and exits with a meaning:

0 done, 1 the home or an event refused, 2 wrong usage, 3 there is no such thing, or no answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from homeostat.eventing.errors import Fault, Reject, shown

from . import broker_cli, looking_cli, quality_cli, steering_cli
from .benchmark_cli import benchmark
from .cluster_cli import cluster
from .monitoring_cli import monitoring
from .place import place
from .terminal import (
    NAMESPACE,
    STATE,
    Context,
    Namespace,
    Output,
    State,
    err,
    fail,
    out,
    print_finding,
    print_json,
    settings,
    told,
)
from .tokens_cli import tokens

cli = typer.Typer(
    help="Keep anomaly detectors fit while the world drifts: a loop that is a chain of events.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
cli.add_typer(broker_cli.dead, name="dead")
cli.add_typer(broker_cli.trigger, name="trigger")
cli.add_typer(tokens, name="tokens")
cli.add_typer(cluster, name="cluster")
cli.command()(broker_cli.replay)
cli.command()(benchmark)
for verb in (*looking_cli.VERBS, *steering_cli.VERBS, *quality_cli.VERBS):
    cli.command()(verb)
cli.command()(monitoring)


@cli.command()
@told
def up(
    state: State = STATE,
    host: Annotated[str | None, typer.Option(help="The address to listen at (default: 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Where everything listens.")] = None,
    tick: Annotated[str | None, typer.Option(help="How often canaries are looked at.")] = None,
    sample: Annotated[float | None, typer.Option(help="Share of requests whose payload is logged.")] = None,
) -> None:
    """Run the whole loop on this machine until Ctrl-C.

    Example: [bold]homeostat up --port 8080 --state .homeostat[/bold]
    """
    from .local.home import StartError, run

    chosen = settings(state, host=host, port=port, tick=tick, sample=sample)
    err.print(f"Homeostat at {chosen.url}: broker {chosen.sink}, predictions {chosen.url}/serving/<detector>")
    try:
        run(chosen)
    except StartError as error:
        fail(str(error))


@cli.command()
@told
def apply(
    file: Annotated[Path, typer.Option("--file", "-f", help="A YAML file of Detectors.")],
    state: State = STATE,
    context: Context = None,
    namespace: Namespace = NAMESPACE,
    output: Output = "text",
) -> None:
    """Create Detectors or change their specs.

    Example: [bold]homeostat apply -f pump.yaml[/bold], on a cluster
    [bold]homeostat apply -f pump.yaml --context plant[/bold]
    """
    from .manifest import read

    with place(state, context, namespace) as where:
        results = where.apply(list(read(file)))
    if output == "json":
        print_json([{"name": name, "result": result} for name, result in results])
    for name, result in results if output == "text" else ():
        out.print(f"detector/{name} {result}")


@cli.command()
@told
def emit(
    type: Annotated[str, typer.Argument(help="Such as training.requested; dev.homeostat. may be left out.")],
    subject: Annotated[str, typer.Argument(help="The Detector's name.")],
    data: Annotated[str, typer.Option("--data", "-d", help="The event's data as JSON.")] = "{}",
    sink: Annotated[
        str | None, typer.Option(help="Post to this address instead, with HOMEOSTAT_TOKEN if it is set.")
    ] = None,
    state: State = STATE,
    context: Context = None,
    namespace: Namespace = NAMESPACE,
    output: Output = "text",
) -> None:
    """Send one CloudEvent to the broker: this machine's, or with --context a cluster's, by its API server.

    Example: [bold]homeostat emit training.requested pump -d '{"reason": "new sensor"}'[/bold]
    """
    from .outgoing import send

    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Reject(Fault("--data", shown(data), f"is no JSON ({error})")) from None
    kind = type if type.count(".") > 1 else f"dev.homeostat.{type}"
    if sink:
        identity = send(sink, kind, subject, document)
    else:
        with place(state, context, namespace) as where:
            identity = where.post(kind, subject, document)
    if output == "json":
        print_json({"id": identity, "type": kind, "subject": subject})
    else:
        out.print(f"accepted {kind} {identity}")


@cli.command()
@told
def land(
    detector: Annotated[str, typer.Argument(help="The Detector's name.")],
    files: Annotated[list[Path], typer.Argument(help="CSV or Parquet files with new rows.")],
    state: State = STATE,
    output: Output = "text",
) -> None:
    """Put files where the Detector's data lies, and say so.

    Example: [bold]homeostat land pump today.csv[/bold]
    """
    from .local.client import land_file

    landed = [land_file(settings(state), detector, file) for file in files]
    if output == "json":
        print_json(landed)
    for one in landed if output == "text" else ():
        out.print(f"landed {one['uri']} ({one['size']} bytes)")


@cli.command()
@told
def doctor(state: State = STATE, output: Output = "text") -> None:
    """Check this machine: Python, packages, disk, memory, port, state; each finding with its mend.

    Example: [bold]homeostat doctor[/bold]
    """
    from .local.doctor import examine

    findings = examine(settings(state))
    if output == "json":
        print_json([one.document() for one in findings])
    else:
        for one in findings:
            print_finding(one)
    if not all(one.ok for one in findings):
        raise typer.Exit(1)


@cli.command()
@told
def demo(
    data: Annotated[
        Path | None, typer.Option(help="A folder in SKAB's layout; without it a pump rig is simulated.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Keep the demo's state here (default: a temporary one).")
    ] = None,
    output: Output = "text",
) -> None:
    """Tell the whole story on one machine: serve, drift, retrain, canary, promote, roll back.

    Example: [bold]homeostat demo --data ../shared/data/skab[/bold]
    """
    from .demo.play import DemoError, play

    try:
        report = play(data, state, quiet=output == "json")
    except DemoError as error:
        fail(str(error))
    if output == "json":
        print_json(report)


def main() -> None:
    cli()


if __name__ == "__main__":
    main()
