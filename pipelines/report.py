"""The page that says what a run found: one HTML file that needs nothing else, and runs nothing.

The gates are decided later, on the same figures, and stand in `eval.passed` or `eval.failed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from . import plots
from .comparison import REGIMES, calm, regime
from .held import Held, enough
from .judging import Seen

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root { color-scheme: light dark; --candidate: #0072b2; --champion: #c04f00; --labelled: #f0d000;
  --paper: #ffffff; --ink: #1d1d1f; --rule: #c9c9ce; }
@media (prefers-color-scheme: dark) { :root { --candidate: #62b5e5; --champion: #ff9a52; --labelled: #8a7a10;
  --paper: #17181a; --ink: #e8e8ea; --rule: #4a4b50; } }
body { background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif;
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .25rem; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
.scroll { overflow-x: auto; }
figure { margin: 1rem 0 2rem; }
svg { max-width: 100%; height: auto; }
</style>
</head>
"""


def render(name: str, spec: Mapping[str, Any], judged: Mapping[str, Any], seen: Seen, held: Held) -> str:
    """The page of a run of that name: what was found (`judging.found`), and what it rests on."""
    chosen, metric = judged["chosen"], spec["gate"]["metric"]
    source = "labelled" if held.judged_on == "labels" else "injected (nobody labelled enough)"
    title = f"{name}: {chosen['algorithm']}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{len(held.labels)} held-back rows, {int(held.labels.sum())} of them anomalous, {source}. Gates"
        " are decided on these figures by <code>judge-candidate</code>; its event tells each of them.</p>",
        "<h2>Figures and their limits</h2>",
        _table(
            "Of the candidate, on all held-back rows", ("figure", "measured", "limit"), _limits(spec, chosen)
        ),
        "<h2>Candidate and champion</h2>",
        _table(
            f"{metric}, on the same rows; an interval at {spec['gate'].get('confidence', 0.95):.0%}",
            ("regime", "rows", "anomalous", "candidate", "champion", "difference", "interval"),
            _regimes(judged["comparison"]),
        ),
        *_figures(seen, held),
        "<h2>Canary inputs</h2>",
        _table(
            "Answered through the saved artifact, as its server would",
            ("input", "rows", "answer"),
            [(one.name, str(one.rows), "sound" if one.sound else one.fault) for one in seen.canaries],
        ),
        "<h2>All candidates</h2>",
        _table("Of this run", ("algorithm", *_SHOWN), _candidates(judged["candidates"])),
    ]
    return (
        _HEAD.replace("{title}", escape(title))
        + "<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


_SHOWN = ("vus_pr", "average_precision", "f1", "false_alarm_rate", "calibration", "latency_ms", "size_mb")
_LIMITS = (
    ("false_alarm_rate", "max_false_alarm_rate", "at most"),
    ("latency_ms", "max_latency_ms", "at most"),
    ("size_mb", "max_size_mb", "at most"),
    ("calibration", "max_calibration", "at most"),
)


def _limits(spec: Mapping[str, Any], chosen: Mapping[str, Any]) -> Iterable[Sequence[str]]:
    gate, metrics = spec["gate"], chosen["metrics"]
    yield gate["metric"], _number(metrics.get(gate["metric"])), f"at least {_number(gate['min'])}"
    for name, limit, rule in _LIMITS:
        asked = gate.get(limit)
        yield name, _number(metrics.get(name)), "none" if asked is None else f"{rule} {_number(asked)}"
    yield "canary_inputs", _number(metrics.get("canary_inputs")), "all (1)"


def _regimes(comparison: Mapping[str, Mapping[str, float | None]]) -> Iterable[Sequence[str]]:
    for name in REGIMES if comparison else ():
        of = comparison[name]
        interval = "not told" if of["low"] is None else f"{_number(of['low'])} to {_number(of['high'])}"
        shown = [_number(of[key]) for key in ("candidate", "champion", "difference")]
        yield name, f"{of['rows']:.0f}", f"{of['anomalies']:.0f}", *shown, interval


def _candidates(candidates: Mapping[str, Mapping[str, float | None]]) -> Iterable[Sequence[str]]:
    for name, metrics in candidates.items():
        yield name, *(_number(metrics.get(one)) for one in _SHOWN)


def _figures(seen: Seen, held: Held) -> Iterable[str]:
    named = [("candidate", plots.CANDIDATE, seen.candidate)]
    if seen.champion:
        named.append(("champion", plots.CHAMPION, seen.champion))
    lines, quiet = [], []
    for name, colour, (fitted, said) in named:
        # A threshold of 0 or less has no multiples: scores are shown as they lie above it.
        relative = (
            said.scores / fitted.threshold if fitted.threshold > 0 else said.scores - fitted.threshold + 1
        )
        line = plots.Line(f"{name}: {fitted.algorithm.name}", colour, relative, said.alarms)
        lines.append(line)
        quiet.append((line, calm(fitted, held)))
    regimes = {}
    for name in REGIMES:
        rows = regime(held, name)
        if enough(held.labels[rows], held.segments[rows]):
            parts = [plots.Line(one.name, one.colour, one.relative[rows], one.alarms[rows]) for one in lines]
            regimes[name] = (parts, held.labels[rows])
    if regimes:
        yield _figure(
            plots.curves(regimes),
            "Precision against recall, regime by regime",
            "Dots are at the thresholds; further up and to the right is better.",
        )
    yield _figure(
        plots.timeline(lines, held.labels, held.recent),
        "Scores over the held-back rows",
        "In units of each model's threshold (dashed). Shaded: anomalous rows. The strip below: alarms.",
    )
    yield _figure(
        plots.tail(quiet, seen.nominal),
        "Does the threshold keep its word?",
        "Rows that are normal and see no anomaly in their window. Where a line crosses the threshold (dashed)"
        " above the diamond, there are more false alarms than were asked for.",
    )


def _figure(svg: str, title: str, caption: str) -> str:
    title, caption = escape(title), escape(caption)
    labelled = svg.replace("<svg ", f'<svg role="img" aria-label="{title}. {caption}" ', 1)
    return f"<figure>\n<h3>{title}</h3>\n{labelled}\n<figcaption>{caption}</figcaption>\n</figure>"


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = "".join(f'<th scope="col">{escape(one)}</th>' for one in head)
    lines = [
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(one)}</td>" for one in rest)
        + "</tr>"
        for first, *rest in rows
    ]
    body = "\n".join(lines) or f'<tr><td colspan="{len(head)}">nothing to compare with</td></tr>'
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption>\n<thead><tr>{cells}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3g}"
