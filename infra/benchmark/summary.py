"""From outcomes per series to one row per algorithm, with the spread over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from homeostat.models.alarm_figures import alarm_figures
from homeostat.models.event_wise import DAY, event_wise
from homeostat.models.metrics import average_precision, report, vus_pr

from .protocol import Judged

Figures = dict[str, float | None]

MEANS = ("average_precision", "vus_pr", "affiliation_f1", "range_f1")
"""Figures that are means over the series with anomalies: short series count like long ones."""


def per_series(judged: Judged) -> Figures:
    """The whole report of one series, and the seconds spent."""
    figures = report(judged.scores, judged.labels, judged.threshold, period=judged.period)
    told = alarm_figures(
        judged.alarms, judged.labels, judged.period
    )  # an alarm may ask for more than one row
    return {**figures, **told, "fit_seconds": judged.fit_seconds, "score_seconds": judged.score_seconds}


def of_one_seed(judged: Sequence[Judged]) -> Figures:
    """The figures of one algorithm and seed over all series.

    * from all judged rows together (pooled): precision, recall, f1, rates, always_alarm_f1, and
      average_precision_pooled, vus_pr_pooled, for which the scores of a series are in units of its own
      threshold;
    * mean over series: MEANS, as FIGURE_mean, and what always alarming has for them;
    * events, events_found and false_alarms_per_day: counted in each series, and added up; delay_median (rows)
      and delay_median_seconds: of all events found;
    * series: how many there are; fit_seconds, score_seconds: added up.
    """
    labels = np.concatenate([one.labels for one in judged])
    alarms = np.concatenate([one.alarms for one in judged])
    scores = np.concatenate([relative(one) for one in judged])
    pointwise = alarm_figures(alarms, labels)
    names = ("precision", "recall", "f1", "false_alarm_rate", "missed_alarm_rate", "always_alarm_f1")
    each = [per_series(one) for one in judged]
    means = (*MEANS, "always_alarm_affiliation_f1", "always_alarm_range_f1")
    return {
        "series": float(len(judged)),
        **{name: pointwise.get(name) for name in names},
        "average_precision_pooled": average_precision(scores, labels),
        "vus_pr_pooled": vus_pr(scores, labels),
        **{f"{name}_mean": _mean(one[name] for one in each) for name in means},
        **_events(judged),
        "fit_seconds": sum(one.fit_seconds for one in judged),
        "score_seconds": sum(one.score_seconds for one in judged),
    }


def relative(judged: Judged) -> NDArray[np.float64]:
    """(n,) scores in units of the threshold, so that those of several detectors can be compared. Where it is
    not above 0 there is no such unit, and they are shifted instead: 1 is the threshold in any case."""
    if judged.threshold > 0:
        return judged.scores / judged.threshold
    return judged.scores - judged.threshold + 1


def over_seeds(judged: Iterable[Judged]) -> dict[str, dict[str, tuple[float | None, float | None]]]:
    """{algorithm: {figure: (mean, standard deviation) over seeds}}; no deviation with one seed."""
    rows = {}
    for name, group in groupby(judged, lambda one: one.algorithm):
        seeds = [of_one_seed(list(same)) for _, same in groupby(group, lambda one: one.seed)]
        rows[name] = {figure: _spread([one[figure] for one in seeds]) for figure in seeds[0]}
    return rows


def _spread(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    known = [one for one in values if one is not None]
    if not known:
        return None, None
    return float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else None


def _mean(values: Iterable[float | None]) -> float | None:
    return _spread(list(values))[0]


def _events(judged: Sequence[Judged]) -> Figures:
    each = [event_wise(one.alarms, one.labels) for one in judged]
    delays = np.concatenate([one.delays for one in each])
    figures: Figures = {
        "events": float(sum(one.events for one in each)),
        "events_found": float(sum(one.found for one in each)),
        "delay_median": float(np.median(delays)) if len(delays) else None,
        "delay_median_seconds": None,
        "false_alarms_per_day": None,
    }
    periods = [one.period for one in judged if one.period is not None]
    if len(periods) == len(judged):
        days = sum(one.rows * period for one, period in zip(each, periods, strict=True)) / DAY
        seconds = np.concatenate([one.delays * period for one, period in zip(each, periods, strict=True)])
        figures["false_alarms_per_day"] = sum(one.false_alarms for one in each) / days
        figures["delay_median_seconds"] = float(np.median(seconds)) if len(seconds) else None
    return figures
