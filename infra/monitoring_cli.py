"""`homeostat monitoring`: what Prometheus, Alertmanager and Grafana of this machine read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .monitoring.machine import Stack, commands, write
from .terminal import STATE, Output, State, err, out, print_json, settings, told

FAST = 0.02


@told
def monitoring(
    folder: Annotated[Path, typer.Argument(help="Where the files go; what is there is written anew.")],
    host: Annotated[str | None, typer.Option(help="Where the home listens (default: 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Where the home listens.")] = None,
    prometheus: Annotated[str, typer.Option(help="Where Prometheus shall listen.")] = "127.0.0.1:9090",
    alertmanager: Annotated[str, typer.Option(help="Where Alertmanager shall listen.")] = "127.0.0.1:9093",
    grafana: Annotated[str, typer.Option(help="Where Grafana shall listen.")] = "127.0.0.1:3000",
    scale: Annotated[float, typer.Option(help="Every wait of the rules so many times as long.")] = 1.0,
    fast: Annotated[bool, typer.Option("--fast", help=f"For a demonstration: --scale {FAST}.")] = False,
    state: State = STATE,
    output: Output = "text",
) -> None:
    """Write prometheus.yml, rules.yml, alertmanager.yml and Grafana's dashboards for a home on this machine.

    What names a Detector in its label `detector` is sent to the home, whose Detector says what is done.
    Doors of the home that ask for tokens get one each, in a file that only its owner can read.

    Example: [bold]homeostat monitoring watching --port 8080[/bold]
    """
    chosen = settings(state, host=host, port=port)
    stack = Stack(folder, chosen, prometheus, alertmanager, grafana, FAST if fast else scale)
    files = write(stack)
    if output == "json":
        print_json({"files": [str(one) for one in files], "commands": commands(stack)})
        return
    err.print(f"{len(files)} files in {folder}; start what is wanted of:", markup=False)
    for one in commands(stack):
        out.print(one, markup=False, highlight=False, soft_wrap=True)
