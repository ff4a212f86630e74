"""Affiliation precision and recall (Huet, Navarro and Rossi, KDD 2022): how near alarms are to events."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ranges import PrecisionRecall, ranges, row_by_row

Times = NDArray[np.float64]


def affiliation(alarms: NDArray[Any], labels: NDArray[Any]) -> PrecisionRecall | None:
    """(n,) alarms against the events in (n,) labels, by distance in time rather than by overlap.

    Time is divided among the events, each owning what is nearer to it than to another. Within such a zone
    a distance counts as the chance that a point drawn anywhere in the zone is farther away: of an alarm from
    the event for the precision, of the event's points from the nearest alarm for the recall. Both are
    averaged over zones, the precision over those with an alarm. Alarms at random come to 0.5 or more, so
    that only the way from there to 1 says anything. None without events. O(k log k) for k ranges.

    Equals the authors' implementation (github.com/ahstat/affiliation-metrics-py), which is no package on
    PyPI and compares every range with every event.

    >>> found = affiliation(np.array([0,0,0,0,1,0,0,0,1,0]), np.array([0,0,0,1,0,0,0,1,1,1]))
    >>> f"{found.precision:.2f} {found.recall:.2f}"  # the authors' example
    '0.82 0.84'
    """
    alarm, truth = row_by_row(alarms, labels)
    if not truth.any():
        return None
    if not alarm.any():
        return PrecisionRecall(None, 0.0)
    zones = _Zones(truth)
    begins, ends = (edges.astype(np.float64) for edges in ranges(alarm))
    return PrecisionRecall(_precision(zones, begins, ends), _recall(zones, begins, ends))


class _Zones:
    """The events [starts, stops), and of each event the zone [low, high) of time that is nearest to it."""

    def __init__(self, truth: NDArray[np.bool_]) -> None:
        self.starts, self.stops = (edges.astype(np.float64) for edges in ranges(truth))
        borders = (self.stops[:-1] + self.starts[1:]) / 2
        self.low = np.concatenate([[0.0], borders])
        self.high = np.concatenate([borders, [float(len(truth))]])
        self.length = self.high - self.low

    def at(self, times: Times) -> NDArray[np.int64]:
        """The zone of each time."""
        return np.searchsorted(self.high, times, side="right").clip(max=len(self.high) - 1)

    def mean(self, chances: Times, widths: Times, middles: Times) -> Times:
        """The mean chance in each zone that has any width at all."""
        zone = self.at(middles)
        total = np.bincount(zone, weights=widths, minlength=len(self.low))
        summed = np.bincount(zone, weights=chances * widths, minlength=len(self.low))
        return summed[total > 0] / total[total > 0]


def _precision(zones: _Zones, begins: Times, ends: Times) -> float:
    margin = np.minimum(zones.starts - zones.low, zones.high - zones.stops)
    bends = [zones.low, zones.starts, zones.stops, zones.starts - margin, zones.stops + margin]
    middles, widths = _pieces([begins, ends, *bends])
    alarmed = _inside(middles, begins, ends)
    middles, widths = middles[alarmed], widths[alarmed]
    zone = zones.at(middles)
    distance = np.maximum(np.maximum(zones.starts[zone] - middles, middles - zones.stops[zone]), 0.0)
    nearer = (zones.stops - zones.starts)[zone] + np.minimum(distance, margin[zone]) + distance
    chances = np.where(distance > 0, 1 - nearer / zones.length[zone], 1.0)
    return float(zones.mean(chances, widths, middles).mean())


def _recall(zones: _Zones, begins: Times, ends: Times) -> float:
    edges = np.concatenate([begins, ends])
    zone = zones.at(edges)
    bends = [(zones.low[zone] + edges) / 2, (zones.high[zone] + edges) / 2]
    gaps = (ends[:-1] + begins[1:]) / 2  # where the nearest alarm changes
    halves = (zones.low + zones.high) / 2
    middles, widths = _pieces([zones.starts, zones.stops, edges, gaps, halves, *bends])
    event = _inside(middles, zones.starts, zones.stops)
    middles, widths = middles[event], widths[event]
    zone = zones.at(middles)
    low, high = zones.low[zone], zones.high[zone]
    distance = _to_nearest(middles, low, high, begins, ends)
    margin = np.minimum(middles - low, high - middles)
    chances = 1 - (np.minimum(distance, margin) + distance) / (high - low)
    return float(zones.mean(np.where(np.isfinite(distance), chances, 0.0), widths, middles).mean())


def _to_nearest(times: Times, low: Times, high: Times, begins: Times, ends: Times) -> Times:
    """From each time to the nearest alarm within its zone [low, high): infinite where there is none."""
    next_one = np.searchsorted(begins, times, side="right")
    last_end = np.concatenate([[-np.inf], ends])[next_one]
    next_begin = np.concatenate([begins, [np.inf]])[next_one]
    before = np.where(last_end > low, np.maximum(times - last_end, 0.0), np.inf)
    after = np.where(next_begin < high, next_begin - times, np.inf)
    return np.minimum(before, after)


def _pieces(cuts: list[Times]) -> tuple[Times, Times]:
    """(middles, widths) of the pieces between cuts. What is integrated is linear within a piece, so that its
    value in the middle, times the width, is exact."""
    places = np.unique(np.concatenate(cuts))
    return (places[:-1] + places[1:]) / 2, np.diff(places)


def _inside(times: Times, starts: Times, stops: Times) -> NDArray[np.bool_]:
    return np.searchsorted(starts, times, side="right") > np.searchsorted(stops, times, side="right")
