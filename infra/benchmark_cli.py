"""`homeostat benchmark`: which algorithm finds the labelled anomalies of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .terminal import Output, err, fail, out, print_json, told


@told
def benchmark(
    dataset: Annotated[Path, typer.Argument(help="A labelled folder: SKAB's layout, NAB's, or CSV files.")],
    algorithms: Annotated[str, typer.Option(help="Names with commas between them, quick, or all.")] = "quick",
    layout: Annotated[
        Literal["skab", "nab", "csv"] | None, typer.Option(help="Instead of the one that is recognised.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="The label column; above 0 is anomalous.")] = None,
    time: Annotated[str | None, typer.Option(help="The time column.")] = None,
    channels: Annotated[str | None, typer.Option(help="Columns to watch (default: every number).")] = None,
    train: Annotated[
        str | None, typer.Option(help="Rows of each series to fit, 400, or a share, 0.3 (default: 400).")
    ] = None,
    window: Annotated[int, typer.Option(help="Rows per window.", min=1)] = 40,
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0 on.", min=1)] = 1,
    false_alarm_rate: Annotated[float, typer.Option(help="What thresholds are to hold.")] = 0.02,
    jobs: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
    plots: Annotated[
        Path | None, typer.Option("--out", help="Write tables (Markdown, CSV) and plots here.")
    ] = None,
    output: Output = "text",
) -> None:
    """Judge algorithms on a labelled folder; the protocol is printed first.

    Example: [bold]homeostat benchmark ../shared/data/skab --algorithms isolation-forest --out report[/bold]
    """
    from homeostat.models.storage import DataError

    from .benchmark.command import Request
    from .benchmark.command import benchmark as judge
    from .benchmark.series import Columns

    watched = tuple(one.strip() for one in channels.split(",")) if channels else None
    request = Request(
        folder=dataset,
        layout=layout,
        columns=Columns(label, time, watched),
        algorithms=algorithms,
        train=train,
        window=window,
        seeds=seeds,
        false_alarm_rate=false_alarm_rate,
        jobs=jobs,
        out=plots,
        output=output,
    )
    try:
        document = judge(request, out, err)
    except OSError as error:
        fail(str(error), 3)
    except DataError as error:
        fail("\n".join(map(str, error.faults)))
    except ValueError as error:
        fail(str(error), 2)
    if output == "json":
        print_json(document)
    if document["failed"]:
        raise typer.Exit(1)
