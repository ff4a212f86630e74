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


def of_counters(*, latency: Mapping[str, float], **totals: float | None) -> RevisionFigures | None:
    """`latency` is cumulated, by its buckets' upper bounds (`le`)."""
    missing = [name for name, value in totals.items() if value is None or not math.isfinite(value)]
    if missing or not latency or not all(map(math.isfinite, latency.values())):
        log.warning("no figure for %s", ", ".join(missing) or "latency")
        return None
    cumulated = [latency[le] for le in sorted(latency, key=float)]
    counts = tuple(int(b - a) for a, b in pairwise((0, *cumulated)))
    return RevisionFigures(latency=counts, **{name: int(value or 0) for name, value in totals.items()})


def of_prometheus(url: str, revision: str, totals: Mapping[str, str], latency: str) -> RevisionFigures | None:
    """The answers to one PromQL query for each total, and to one for the latency's buckets; None when the
    Prometheus cannot be reached or does not know one of them. Blocks, for a few seconds at most."""
    from prometheus_api_client import PrometheusConnect
    from prometheus_api_client.exceptions import PrometheusApiClientException
    from requests import RequestException

    try:
        with PrometheusConnect(url, retry=0, timeout=QUERY_SECONDS) as server:
            found = {name: server.custom_query(query) for name, query in totals.items()}
            buckets = server.custom_query(latency)
        return of_counters(
            latency={one["metric"]["le"]: float(one["value"][1]) for one in buckets},
            **{name: float(one[0]["value"][1]) if one else None for name, one in found.items()},
        )
    except (PrometheusApiClientException, RequestException, LookupError, TypeError, ValueError) as error:
        log.warning("%s does not tell the figures of %s: %s", url, revision, error)
        return None


def number(url: str, query: str) -> float | None:
    """The answer to a query for one number; None when there is none."""
    from prometheus_api_client import PrometheusConnect
    from prometheus_api_client.exceptions import PrometheusApiClientException
    from requests import RequestException

    try:
        with PrometheusConnect(url, retry=0, timeout=QUERY_SECONDS) as server:
            value = float(server.custom_query(query)[0]["value"][1])
    except (PrometheusApiClientException, RequestException, LookupError, TypeError, ValueError) as error:
        log.warning("%s does not answer %s: %s", url, query, error)
        return None
    return value if math.isfinite(value) else None


def quoted(name: str) -> str:
    """A label's value in PromQL, whose strings are Go's: JSON's are among them."""
    return orjson.dumps(name).decode()
