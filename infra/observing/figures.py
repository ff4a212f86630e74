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


def of_counters(*, latency: Mapping[str, float], **totals: float | None) -> RevisionFigures | None:
    """`latency` is cumulated, by its buckets' upper bounds (`le`)."""
    missing = [name for name, value in totals.items() if value is None or not math.isfinite(value)]
    if missing or not latency or not all(map(math.isfinite, latency.values())):
        log.warning("no figure for %s", ", ".join(missing) or "latency")
        return None
    cumulated = [latency[le] for le in sorted(latency, key=float)]
    counts = tuple(int(b - a) for a, b in pairwise((0, *cumulated)))
    return RevisionFigures(latency=counts, **{name: int(value or 0) for name, value in totals.items()})


def of_prometheus(url: str, totals: Mapping[str, str], latency: str) -> RevisionFigures | None:
    """The answers to one PromQL query for each total, and to one for the latency's buckets; None when the
    Prometheus cannot be reached or does not know one of them."""
    found = answers(url, *totals.values(), latency)
    if found is None:
        return None
    *sums, buckets = found
    values = [one[0][1] if one else None for one in sums]
    return of_counters(latency=_by_bound(buckets), **dict(zip(totals, values, strict=True)))


def of_one_answer(url: str, totals: Mapping[str, str], latency: str) -> RevisionFigures | None:
    """The same from a single query, whose parts are of one moment: between two, more may be scraped."""
    parts = {**totals, "latency": latency}
    labelled = [f'label_replace({query}, "figure", "{name}", "", "")' for name, query in parts.items()]
    found = answers(url, " or ".join(labelled))
    if found is None:
        return None
    by_figure = {name: [one for one in found[0] if one[0].get("figure") == name] for name in parts}
    buckets = by_figure.pop("latency")
    return of_counters(
        latency=_by_bound(buckets), **{name: one[0][1] if one else None for name, one in by_figure.items()}
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
