"""The report's plots, as SVG that stands in a page: its text is text, its colours are the page's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from homeostat.models.ranges import ranges

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]

INK, CANDIDATE, CHAMPION, LABELLED = "#010203", "#0072b2", "#d55e00", "#f0e442"
COLOURS: Mapping[str, str] = MappingProxyType(
    {
        INK: "currentColor",
        CANDIDATE: "var(--candidate)",
        CHAMPION: "var(--champion)",
        LABELLED: "var(--labelled)",
    }
)
"""What stands for a colour while a plot is drawn, and what the page makes of it, light or dark."""
_MOST_POINTS = 1_500  # of a line; more cannot be seen
_WIDE = 20.0  # thresholds: where scores go higher the axis is logarithmic
_LOOK: Any = {
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True)
class Line:
    """One model on (n,) rows: scores in units of its threshold, and its alarms."""

    name: str
    colour: str
    relative: Values
    alarms: Flags


def timeline(lines: Sequence[Line], labels: Flags, recent: Flags) -> str:
    """A panel for each model: scores, threshold, alarms below, labels behind, regimes told apart."""

    def draw(figure: Figure) -> None:
        panels = np.atleast_1d(figure.subplots(len(lines), 1, sharex=True))
        for panel, line in zip(panels, lines, strict=True):
            _spans(panel, labels, LABELLED, 1.0)
            _spans(panel, line.alarms, line.colour, 0.04)
            at, values = _thinned(line.relative)
            panel.plot(at, values, color=line.colour, lw=0.8)
            panel.axhline(1.0, color=INK, lw=1, ls="--")
            if line.relative.min() > 0 and line.relative.max() > _WIDE:
                panel.set_yscale("log")
            for border in np.flatnonzero(np.diff(recent.astype(int))) + 1:
                panel.axvline(border, color=INK, lw=1.2, ls=":")
            panel.set_title(line.name, loc="left", fontsize=9)
            panel.set_ylabel("score / threshold")
        panels[-1].set_xlabel("held-back row (dotted: where a regime begins)")
        panels[-1].set_xlim(0, len(labels))

    return _svg("timeline", draw, 1.9 * len(lines) + 0.4)


def curves(regimes: Mapping[str, tuple[Sequence[Line], Flags]]) -> str:
    """Precision against recall in each regime, a line for each model, a dot at its threshold."""

    def draw(figure: Figure) -> None:
        panels = np.atleast_1d(figure.subplots(1, len(regimes), sharey=True))
        for panel, (name, (lines, labels)) in zip(panels, regimes.items(), strict=True):
            for line in lines:
                panel.plot(*_thinned_curve(line.relative, labels), color=line.colour, lw=1.3, label=line.name)
                hits = float((line.alarms & labels).sum())
                if line.alarms.any():
                    dot = (hits / labels.sum(), hits / line.alarms.sum())
                    panel.plot(*dot, "o", color=line.colour, ms=6)
            panel.axhline(float(labels.mean()), color=INK, lw=0.8, ls=":", label="every row alarmed")
            panel.set(xlim=(0, 1.01), ylim=(0, 1.03), xlabel="recall")
            panel.set_title(f"{name} regime", loc="left", fontsize=9)
        panels[0].set_ylabel("precision")
        panels[0].legend(frameon=False, fontsize=8)

    return _svg("curves", draw, 3.4)


def tail(lines: Sequence[tuple[Line, Flags]], nominal: float) -> str:
    """The share of calm rows above a score, and the share that the threshold was asked to let through."""

    def draw(figure: Figure) -> None:
        panel = figure.subplots()
        for line, rows in lines:
            values = np.sort(line.relative[rows])
            if len(values):
                values, share = (
                    np.append(0.0, values),
                    np.append(1.0, 1 - np.arange(len(values)) / len(values)),
                )
                picks = np.unique(np.linspace(0, len(values) - 1, _MOST_POINTS // 2).astype(int))
                panel.step(
                    values[picks], share[picks], where="pre", color=line.colour, lw=1.3, label=line.name
                )
        panel.axvline(1.0, color=INK, lw=1, ls="--")
        panel.plot(1.0, nominal, "D", color=INK, ms=6, label=f"asked for: {nominal:.2%} at the threshold")
        panel.set_yscale("log")
        panel.set(xlabel="score / threshold", ylabel="share of calm rows above", xlim=(0, 3))
        panel.legend(frameon=False, fontsize=8, loc="upper right")

    return _svg("tail", draw, 3.0)


def _spans(panel: Axes, flags: Flags, colour: str, height: float) -> None:
    for start, stop in zip(*ranges(flags), strict=True):
        shade = 0.5 if height == 1.0 else 1.0
        panel.axvspan(start, stop, ymax=height, color=colour, alpha=shade, lw=0)


def _thinned(values: Values) -> tuple[Values, Values]:
    """The highest and the lowest value of each of some hundred steps, so that no peak is lost."""
    if len(values) <= _MOST_POINTS:
        return np.arange(len(values), dtype=float), values
    edges = np.linspace(0, len(values), _MOST_POINTS // 2 + 1).astype(int)[:-1]
    pairs = np.stack([np.minimum.reduceat(values, edges), np.maximum.reduceat(values, edges)], axis=1)
    return np.repeat(edges.astype(float), 2), pairs.ravel()


def _thinned_curve(scores: Values, labels: Flags) -> tuple[Values, Values]:
    """(recall, precision) at each distinct score, or at enough of them."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(labels[order])[ends]
    picks = np.unique(np.linspace(0, len(ends) - 1, _MOST_POINTS // 2).astype(int))
    return (hits / labels.sum())[picks], (hits / (ends + 1))[picks]


def _svg(name: str, draw: Any, height: float) -> str:
    """The figure without a background; its ids begin with `name`, as a page holds several."""
    written = StringIO()
    with rc_context({**_LOOK, "svg.hashsalt": name}):
        figure = Figure(figsize=(8.6, height), layout="constrained")
        draw(figure)
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = written.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    for drawn, shown in COLOURS.items():
        text = text.replace(drawn, shown)
    return text
