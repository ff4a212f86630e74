"""Plots of a benchmark: scores over time with labels and threshold, precision-recall curves, bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from homeostat.models.ranges import ranges

from .protocol import Judged
from .summary import relative

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which people with any of the usual colour blindnesses can tell apart; the ninth
# algorithm starts it again with another line style.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
STYLES = ("-", "--", "-.", ":")
LABELLED = "#F0E442"  # the palette's yellow: where the labels say anomalous
INK = "#444444"
_MOST_POINTS = 4_000  # of a line; more cannot be seen, and take long to draw
_WIDE = 20.0  # thresholds: where scores go higher the axis is logarithmic


def scores(judged: Sequence[Judged], path: Path) -> None:
    """One series: a panel per algorithm with its scores in units of the threshold, the threshold, labelled
    anomalies behind them and alarms below."""
    figure, panels = _panels(len(judged), height=1.5)
    first = judged[0]
    seconds = first.period
    unit, label = _time_unit(len(first.scores), seconds)
    at = np.arange(len(first.scores)) * (seconds or 1.0) / unit
    step = at[1] - at[0] if len(at) > 1 else 1.0
    for panel, one in zip(panels, judged, strict=True):
        for start, stop in zip(*ranges(one.labels), strict=True):
            panel.axvspan(at[start], at[start] + (stop - start) * step, color=LABELLED, alpha=0.55, lw=0)
        values = relative(one)
        panel.plot(*_thinned(at, values), color=COLOURS[0], lw=0.9)
        panel.axhline(1.0, color=COLOURS[1], lw=1.2, ls="--")
        _scale(panel, values)
        for start, stop in zip(*ranges(one.alarms), strict=True):
            panel.axvspan(at[start], at[start] + (stop - start) * step, ymax=0.045, color=COLOURS[1], lw=0)
        panel.set_title(one.algorithm, loc="left", fontsize=9)
    panels[-1].set_xlabel(label)
    panels[-1].set_xlim(float(at[0]), float(at[-1] + step))
    figure.supylabel("score / threshold", fontsize=9)
    figure.suptitle(first.series, x=0.01, ha="left", fontsize=11)
    _score_legend(figure)
    figure.savefig(path)


def curves(judged: Sequence[Judged], path: Path) -> None:
    """Precision against recall over all series, a line per algorithm, a mark where its thresholds are."""
    figure, (panel,) = _panels(1, height=5.6, width=8.6)
    labels = np.concatenate([one.labels for one in judged if one.algorithm == judged[0].algorithm])
    for i, name in enumerate(dict.fromkeys(one.algorithm for one in judged)):
        of = [one for one in judged if one.algorithm == name]
        truth, values = (
            np.concatenate([one.labels for one in of]),
            np.concatenate([relative(one) for one in of]),
        )
        recall, precision, area = _curve(values, truth)
        colour, style = COLOURS[i % len(COLOURS)], STYLES[i // len(COLOURS) % len(STYLES)]
        panel.plot(recall, precision, color=colour, ls=style, lw=1.4, label=f"{name} (AP {area:.2f})")
        alarms = np.concatenate([one.alarms for one in of])
        if alarms.any():
            hits = float((alarms & truth).sum())
            panel.plot(
                hits / truth.sum(), hits / alarms.sum(), "o", color=colour, ms=7, mec="white", zorder=5
            )
    panel.axhline(float(labels.mean()), color=INK, lw=1, ls=":", label=f"always alarm ({labels.mean():.2f})")
    panel.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall (share of anomalous rows that are alarmed)")
    panel.set_ylabel("precision (share of alarmed rows that are anomalous)")
    panel.set_title(
        "Precision and recall, pooled over series; dots: at the thresholds", loc="left", fontsize=10
    )
    panel.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
    figure.savefig(path)


def bars(rows: Mapping[str, Mapping[str, tuple[float | None, float | None]]], path: Path) -> None:
    """The main figures side by side, a panel each, with the spread over seeds; best VUS-PR on top."""
    shown = (
        ("vus_pr_mean", "VUS-PR, mean over series"),
        ("average_precision_mean", "average precision, mean"),
        ("f1", "F1, pooled"),
        ("false_alarm_rate", "false-alarm rate (less is better)"),
    )
    names = sorted(rows, key=lambda name: rows[name]["vus_pr_mean"][0] or 0.0)
    figure, panels = _panels(len(shown), height=0.32 * len(names) + 1.1, width=11, across=True)
    for i, (panel, (key, title)) in enumerate(zip(panels, shown, strict=True)):
        values = [rows[name][key][0] or 0.0 for name in names]
        spreads = [rows[name][key][1] or 0.0 for name in names]
        colour = COLOURS[1] if key == "false_alarm_rate" else COLOURS[0]
        panel.barh(names, values, xerr=spreads if any(spreads) else None, color=colour, height=0.7)
        for row, value in enumerate(values):
            inside = value > 0.15
            place, ink = (0.02, "white") if inside else (value + spreads[row] + 0.02, INK)
            panel.text(place, row, f"{value:.2f}", va="center", fontsize=8, color=ink, weight="bold")
        panel.set(xlim=(0, 1), xticks=(0, 0.25, 0.5, 0.75, 1))
        panel.set_title(title, loc="left", fontsize=9)
        panel.tick_params(axis="y", length=0, labelleft=i == 0)
        if key == "f1":
            always = rows[names[0]]["always_alarm_f1"][0] or 0.0
            panel.axvline(always, color=INK, ls=":", lw=1.2)
            panel.set_title(f"{title} (dotted: always, {always:.2f})", loc="left", fontsize=9)
    figure.savefig(path)


def _panels(
    count: int, height: float, width: float = 10, *, across: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure without pyplot, which would look for a screen; `height` and `width` in inches."""
    from matplotlib.figure import Figure

    tall = height if across else height * count + (0.9 if count > 1 else 0)
    figure = Figure(figsize=(width, tall), dpi=110, layout="constrained")
    grid = figure.subplots(1 if across else count, count if across else 1, sharex=not across, sharey=False)
    panels: list[Axes] = list(np.atleast_1d(grid))
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
    return figure, panels


def _score_legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    marks = [
        Patch(color=LABELLED, alpha=0.55, label="labelled anomalous"),
        Line2D([], [], color=COLOURS[0], lw=1.2, label="score"),
        Line2D([], [], color=COLOURS[1], lw=1.2, ls="--", label="threshold"),
        Patch(color=COLOURS[1], label="alarm"),
    ]
    figure.legend(handles=marks, loc="outside upper right", ncols=4, frameon=False, fontsize=8)


def _scale(panel: Axes, values: NDArray[np.float64]) -> None:
    """Room for threshold, scores and the strip of alarms; logarithmic where scores leap by orders."""
    low, high = float(min(values.min(), 1.0)), float(max(values.max(), 1.0))
    if low > 0 and high > _WIDE:
        panel.set_yscale("log")
        panel.set_ylim(low / (high / low) ** 0.12, high * 1.3)
    else:
        room = (high - low) or 1.0
        panel.set_ylim(low - 0.12 * room, high + 0.06 * room)


def _thinned(
    at: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The highest and the lowest value of each of a few thousand steps, so that no peak is lost."""
    if len(values) <= _MOST_POINTS:
        return at, values
    edges = np.linspace(0, len(values), _MOST_POINTS // 2 + 1).astype(int)[:-1]
    pairs = np.stack([np.minimum.reduceat(values, edges), np.maximum.reduceat(values, edges)], axis=1)
    return np.repeat(at[edges], 2), pairs.ravel()


def _time_unit(rows: int, period: float | None) -> tuple[float, str]:
    """(seconds per unit, axis label) so that the axis has numbers of a size that people read."""
    if period is None:
        return 1.0, "judged row"
    for seconds, name in ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes")):
        if rows * period >= 3 * seconds:
            return seconds, f"time since the first judged row ({name})"
    return 1.0, "time since the first judged row (seconds)"


def _curve(
    values: NDArray[np.float64], truth: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(truth, values)
    return recall[:-1], precision[:-1], float(average_precision_score(truth, values))
