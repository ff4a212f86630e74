"""A revision's counters from what a scrape or a Prometheus tells.

A figure that cannot be had makes the revision's figures None: that is never the same as zero.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from itertools import pairwise

import orjson

from homeostat.functions.detector import RevisionFigures

log = logging.getLogger(__name__)

QUERY_SECONDS = 5

Vector = list[tuple[Mapping[str, str], float]]
"""Labels and value of each series of an answer."""


def of_counters(
    *, latency: Mapping[str, float], scores: Mapping[str, float], **totals: float | None
) -> RevisionFigures | None:
    """`latency` and `scores` are cumulated, by their buckets' upper bounds (`le`)."""
    histograms = {"latency": latency, "scores": scores}
    missing = [name for name, value in totals.items() if value is None or not math.isfinite(value)]
    missing += [
        name
        for name, buckets in histograms.items()
        if not buckets or not all(map(math.isfinite, buckets.values()))
    ]
    if missing:
        log.warning("no figure for %s", ", ".join(missing))
        return None
    return RevisionFigures(
        latency=_counts(latency),
        scores=_counts(scores),
        **{name: int(value or 0) for name, value in totals.items()},
    )


def _counts(cumulated: Mapping[str, float]) -> tuple[int, ...]:
    inorder = [cumulated[le] for le in sorted(cumulated, key=float)]
    return tuple(int(b - a) for a, b in pairwise((0, *inorder)))


def of_prometheus(
    url: str, totals: Mapping[str, str], *, latency: str, scores: str
) -> RevisionFigures | None:
    """The answers to a PromQL query for each total, and to one for each histogram's buckets; None when the
    Prometheus cannot be reached or does not know one of them. They are asked as one query, whose parts are of
    one moment: between two, more may be scraped."""
    parts = {**totals, "latency": latency, "scores": scores}
    labelled = [f'label_replace({query}, "figure", "{name}", "", "")' for name, query in parts.items()]
    found = answers(url, " or ".join(labelled))
    if found is None:
        return None
    of = {name: [one for one in found[0] if one[0].get("figure") == name] for name in parts}
    return of_counters(
        latency=_by_bound(of["latency"]),
        scores=_by_bound(of["scores"]),
        **{name: of[name][0][1] if of[name] else None for name in totals},
    )


def answers(url: str, *queries: str) -> list[Vector] | None:
    """What a Prometheus says to each query; None when it does not answer all of them. Blocks, for a few
    seconds at most."""
    from prometheus_api_client import PrometheusConnect
    from prometheus_api_client.exceptions import PrometheusApiClientException
    from requests import RequestException

    try:
        with PrometheusConnect(url, retry=0, timeout=QUERY_SECONDS) as server:
            found = [server.custom_query(one) for one in queries]
        return [[(one["metric"], float(one["value"][1])) for one in vector] for vector in found]
    except (PrometheusApiClientException, RequestException, LookupError, TypeError, ValueError) as error:
        log.warning("%s does not answer: %s", url, error)
        return None


def number(url: str, query: str) -> float | None:
    """The answer to a query for one number; None when there is none."""
    found = answers(url, query)
    return found[0][0][1] if found and found[0] and math.isfinite(found[0][0][1]) else None


def quoted(name: str) -> str:
    """A label's value in PromQL, whose strings are Go's: JSON's are among them."""
    return orjson.dumps(name).decode()


def _by_bound(vector: Vector) -> dict[str, float]:
    return {labels["le"]: value for labels, value in vector if "le" in labels}
