"""`homeostat benchmark`: read a labelled folder, say the protocol, judge, and tell the figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from homeostat.models import ALGORITHMS
from homeostat.models.algorithm import algorithm

from . import table
from .folder import Dataset, LayoutName, read
from .protocol import Failed, Judged, Outcome, Protocol, run
from .series import Columns
from .summary import over_seeds

SLOW = ("lstm-vae", "gan", "forecaster", "matrix-profile")
"""Left out unless asked for: they take a minute or more for a few thousand rows."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for, as text; `train` is None for what the layout's own protocol fits."""

    folder: Path
    layout: LayoutName | None
    columns: Columns
    algorithms: str
    train: str | None
    window: int
    seeds: int
    false_alarm_rate: float
    jobs: int
    out: Path | None
    output: Literal["text", "json"]


def benchmark(request: Request, out: Console, err: Console) -> dict[str, Any]:
    """The whole document: protocol, one row per algorithm, failures. Tables go to `out` unless JSON is
    wanted, progress to `err`, files to `request.out`.

    Raises ValueError for options that do not fit, OSError for a folder that cannot be used, DataError with
    every fault of its files.
    """
    algorithms = chosen(request.algorithms)
    if request.window < 1 or request.seeds < 1 or request.jobs < 1:
        raise ValueError("--window, --seeds and --jobs count from 1")
    dataset = read(request.folder, request.layout, request.columns)
    if request.out:
        (request.out / "scores").mkdir(parents=True, exist_ok=True)  # better refused now than after an hour
    protocol = Protocol(
        algorithms=algorithms,
        train=share_or_rows(request.train) if request.train else dataset.layout.train,
        window=request.window,
        seeds=tuple(range(request.seeds)),
        options={"false_alarm_rate": request.false_alarm_rate},
    )
    told = describe(dataset, protocol)
    if request.output == "text":
        for name, line in told.items():
            out.print(f"[bold]{name:<10}[/bold] {line}", highlight=False, soft_wrap=True)
    with _progress(err, len(dataset.series) * len(algorithms) * request.seeds) as step:
        outcomes = run(dataset.series, protocol, jobs=request.jobs, done=step)
    judged = [one for one in outcomes if isinstance(one, Judged)]
    failed = [one for one in outcomes if isinstance(one, Failed)]
    rows = over_seeds(judged)
    if request.output == "text":
        _tell(out, err, rows, failed)
    if request.out:
        _write(request.out, told, rows, judged, err)
    return {
        "protocol": told,
        "algorithms": {
            name: {key: {"mean": mean, "std": std} for key, (mean, std) in row.items()}
            for name, row in rows.items()
        },
        "failed": [asdict(one) for one in failed],
    }


def chosen(names: str) -> tuple[str, ...]:
    """The algorithms in a list such as "a,b"; "quick" and "all" stand for lists. ValueError for others."""
    if names in ("quick", "all"):
        return tuple(one for one in ALGORITHMS if names == "all" or one not in SLOW)
    listed = tuple(dict.fromkeys(one.strip() for one in names.split(",") if one.strip()))
    for one in listed or ("",):
        try:
            algorithm(one)
        except ValueError as error:
            raise ValueError(f"--algorithms is {names!r}: {error}, or take quick or all") from None
    return listed


def share_or_rows(text: str) -> float:
    """A share of rows below 1, or a number of them.

    >>> share_or_rows("0.3"), share_or_rows("400")
    (0.3, 400.0)
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (0 < value < 1 or (value >= 1 and value.is_integer())):
        raise ValueError(f"--train is {text!r}: give a number of rows such as 400, or a share such as 0.3")
    return value


def describe(dataset: Dataset, protocol: Protocol) -> dict[str, str]:
    """The protocol in words, so that nobody has to guess what a figure stands on."""
    series = dataset.series
    cuts = [min(protocol.cut(len(one.rows)), len(one.rows)) for one in series]
    total, fitted = sum(len(one.rows) for one in series), sum(cuts)
    judged = [one.labels[cut:] for one, cut in zip(series, cuts, strict=True)]
    anomalous = sum(int(one.sum()) for one in judged)
    among = sum(int(one.labels[:cut].sum()) for one, cut in zip(series, cuts, strict=True))
    periods = sorted({one.period for one in series if one.period is not None})
    held = sum(one.held for one in series)
    first = f"{protocol.train:.0%}" if protocol.train < 1 else f"{int(protocol.train)} rows"
    counts = [len(one.channels) for one in series]
    channels = [str(one) for one in sorted({min(counts), max(counts)})]
    return {
        "data": f"{len(series)} series, {total} rows, {' to '.join(channels)} channels"
        f" in {dataset.folder} ({dataset.layout.title})"
        + (f"; a row every {' or '.join(f'{one:g}' for one in periods[:3])} s" if periods else "; no times")
        + (f"; {held} cells without a number hold the last one" if held else ""),
        "fitted": f"the first {first} of each series: {fitted} rows, labels not looked at"
        + (f", {among} of them labelled anomalous" if among else ""),
        "judged": f"the {total - fitted} rows after them, {anomalous / max(total - fitted, 1):.1%} anomalous,"
        f" {sum(bool(one.any()) for one in judged)} series with anomalies",
        "detectors": f"window {protocol.window}, one setting for all series; seeds"
        f" {', '.join(map(str, protocol.seeds))}; {', '.join(protocol.algorithms)}",
        "threshold": "chosen on the fitted rows alone"
        + "".join(f", {name} {value}" for name, value in protocol.options.items()),
    }


@contextmanager
def _progress(err: Console, total: int) -> Iterator[Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("judging", total=total)

        def step(outcome: Outcome) -> None:
            bar.update(task, advance=1, description=f"{outcome.algorithm} on {outcome.series}")

        yield step


def _tell(out: Console, err: Console, rows: table.Rows, failed: Sequence[Failed]) -> None:
    out.print()
    for one in table.text(rows):
        out.print(one)
        out.print()
    out.print(table.LEGEND, style="dim", highlight=False)
    for name, group in groupby(failed, lambda one: one.algorithm):
        these = list(group)
        err.print(
            f"{name} failed {len(these)} times, first on {these[0].series}: {these[0].reason}",
            style="red", markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip


def _write(folder: Path, told: dict[str, str], rows: table.Rows, judged: list[Judged], err: Console) -> None:
    """table.md, table.csv, series.csv, bars.png, curves.png, and scores/SERIES.png for each series."""
    from . import plots

    lines = "".join(f"* **{name}**: {line}\n" for name, line in told.items())
    (folder / "table.md").write_text(f"{lines}\n{table.markdown(rows)}\n{table.LEGEND}\n")
    (folder / "table.csv").write_text(table.as_csv(rows))
    (folder / "series.csv").write_text(table.series_csv(judged))
    first = [one for one in judged if one.seed == judged[0].seed]
    if not first:
        return
    plots.bars(rows, folder / "bars.png")
    plots.curves(first, folder / "curves.png")
    for name in dict.fromkeys(one.series for one in first):
        flat = name.removesuffix(".csv").replace("/", "-")
        plots.scores([one for one in first if one.series == name], folder / "scores" / f"{flat}.png")
    err.print(f"wrote tables and plots to {folder}", highlight=False)
