"""The benchmark's figures as tables: for a terminal, as Markdown, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from .protocol import Judged
from .summary import per_series

Spread = tuple[float | None, float | None]
Rows = Mapping[str, Mapping[str, Spread]]


@dataclass(frozen=True)
class Column:
    """A figure, its heading, how a value is written, and whether more of it is better."""

    figure: str
    heading: str
    form: str = "{:.3f}"
    more_is_better: bool | None = True


RANKING = (
    Column("average_precision_mean", "AP mean"),
    Column("average_precision_pooled", "AP pooled"),
    Column("vus_pr_mean", "VUS-PR mean"),
    Column("vus_pr_pooled", "VUS-PR pooled"),
    Column("f1", "F1"),
    Column("always_alarm_f1", "F1 always", more_is_better=None),
    Column("false_alarm_rate", "false alarms", "{:.1%}", more_is_better=False),
    Column("missed_alarm_rate", "missed", "{:.1%}", more_is_better=False),
)
RANGES = (
    Column("affiliation_f1_mean", "affil. F1"),
    Column("range_f1_mean", "range F1"),
    Column("events_found", "events found", "{:.0f}"),
    Column("false_alarms_per_day", "false alarms /day", "{:.1f}", more_is_better=False),
    Column("delay_median", "delay, rows", "{:.0f}", more_is_better=False),
    Column("delay_median_seconds", "delay, s", "{:.0f}", more_is_better=False),
    Column("fit_seconds", "fit, s", "{:.2f}", more_is_better=False),
    Column("score_seconds", "score, s", "{:.2f}", more_is_better=False),
)
LEGEND = (
    "AP: average precision. mean: over series. pooled: over all judged rows at once, scores in units of each"
    " series' threshold. F1, false alarms (of normal rows) and missed are pooled, affiliation and range F1"
    " means. F1 always: of calling every row anomalous, which an F1 has to beat. delay: median of the events"
    " found. fit, score: of all series, compilation included."
)


def text(rows: Rows) -> list[Table]:
    """For a terminal of 80 columns; the best of each column is bold."""
    drawn = []
    for group in (RANKING, RANGES):
        columns, one = _told(group, rows), Table(box=None, pad_edge=False)
        one.add_column("algorithm", no_wrap=True)
        for column in columns:
            one.add_column(column.heading, justify="right")
        for name, cells in _body(columns, rows, "[bold]{}[/bold]"):
            one.add_row(name, *cells)
        drawn.append(one)
    return drawn


def markdown(rows: Rows) -> str:
    """A table in Markdown; the best of each column is bold."""
    columns = _told((*RANKING, *RANGES), rows)
    lines = [
        "| algorithm | " + " | ".join(one.heading for one in columns) + " |",
        "|---|" + "---:|" * len(columns),
        *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in _body(columns, rows, "**{}**")),
    ]
    return "\n".join(lines) + "\n"


def as_csv(rows: Rows) -> str:
    """Every figure, unrounded, a line per algorithm; FIGURE_std is the spread over seeds."""
    file = io.StringIO()
    figures = list(next(iter(rows.values()))) if rows else []
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["algorithm", *figures, *(f"{one}_std" for one in figures)])
    for name, row in rows.items():
        writer.writerow([name, *(row[one][0] for one in figures), *(row[one][1] for one in figures)])
    return file.getvalue()


def series_csv(judged: Sequence[Judged]) -> str:
    """Every figure of every algorithm, seed and series."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for i, one in enumerate(judged):
        figures = per_series(one)
        if i == 0:
            writer.writerow(["algorithm", "seed", "series", "rows", "threshold", *figures])
        writer.writerow(
            [one.algorithm, one.seed, one.series, len(one.scores), one.threshold, *figures.values()]
        )
    return file.getvalue()


def _told(columns: Sequence[Column], rows: Rows) -> list[Column]:
    """Those that some algorithm has a value for: without times there are no seconds and no days."""
    return [one for one in columns if any(row[one.figure][0] is not None for row in rows.values())]


def _body(columns: Sequence[Column], rows: Rows, bold: str) -> Iterator[tuple[str, list[str]]]:
    """(name, cells) of each algorithm. One that failed on some series is marked: others had more to judge."""
    best = {one.figure: _best(one, rows) for one in columns}
    most = max((row["series"][0] or 0.0 for row in rows.values()), default=0.0)
    for name, row in rows.items():
        cells = [(_cell(one, row), name in best[one.figure]) for one in columns]
        series = row["series"][0] or 0.0
        shown = name if series == most else f"{name} ({series:g}/{most:g})"
        yield shown, [bold.format(cell) if is_best else cell for cell, is_best in cells]


def _cell(column: Column, figures: Mapping[str, Spread]) -> str:
    mean, deviation = figures[column.figure]
    if mean is None:
        return "-"
    shown = column.form.format(mean)
    if column.figure == "events_found":
        shown += f"/{figures['events'][0]:.0f}"
    spread = column.form.format(deviation or 0.0)
    return f"{shown} ±{spread.removeprefix('0')}" if spread.strip("0.%") else shown


def _best(column: Column, rows: Rows) -> set[str]:
    values = {name: row[column.figure][0] for name, row in rows.items()}
    known = [one for one in values.values() if one is not None]
    if column.more_is_better is None or len(known) < 2:
        return set()
    best = max(known) if column.more_is_better else min(known)
    return {name for name, value in values.items() if value == best}
