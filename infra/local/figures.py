"""What a canary is judged on, measured on this machine: the router's counters and both model servers' own.

Without Prometheus the counters are read where they arise. With one, they are asked of it, one query for each
figure. A figure that cannot be had makes the revision's figures None: that is never the same as zero.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable, Mapping
from itertools import pairwise

import aiohttp
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from homeostat.functions.canary import CanaryFacts
from homeostat.functions.detector import RevisionFigures

from .serving import Serving

log = logging.getLogger(__name__)

SCRAPE_TIMEOUT = aiohttp.ClientTimeout(total=2)
QUERY_SECONDS = 5

REQUESTS = "homeostat_router_requests_total"
LATENCY = "homeostat_router_latency_seconds_bucket"
ROWS = "homeostat_rows_total"
ANOMALIES = "homeostat_anomalies_total"


async def canary_facts(
    serving: Serving, detector: str, revision: str, *, prometheus_url: str | None = None
) -> CanaryFacts:
    """Both revisions' counters as they stand now."""
    desired = serving.desired(detector)
    stable = desired.stable.revision if desired and desired.stable else None
    async with aiohttp.ClientSession(timeout=SCRAPE_TIMEOUT) as client:

        async def figures(name: str) -> RevisionFigures | None:
            if prometheus_url:
                return await asyncio.to_thread(query, prometheus_url, detector, name)
            return await scrape(client, serving, detector, name)

        return CanaryFacts(
            ready=serving.ready(detector, revision),
            canary=await figures(revision),
            stable=await figures(stable) if stable else None,
            restarts=serving.restarts(detector, revision),
            refused=serving.refused(detector, revision),
        )


async def scrape(
    client: aiohttp.ClientSession, serving: Serving, detector: str, revision: str
) -> RevisionFigures | None:
    """The router's counters and those of the revision's `/metrics`; None when one of them is missing."""
    url = serving.url(detector, revision)
    if url is None:
        return None
    try:
        async with client.get(f"{url}/metrics") as response:
            response.raise_for_status()
            served = list(text_string_to_metric_families(await response.text()))
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        log.warning("the metrics of %s cannot be read: %s", revision, error)
        return None
    own = {"revision": revision}
    both = {"detector": detector, **own}
    routed = list(serving.router.registry.collect())
    return _figures(
        requests=_total(routed, REQUESTS, both),
        errors=_total(routed, REQUESTS, {**both, "outcome": "error"}),
        rows=_total(served, ROWS, own),
        anomalies=_total(served, ANOMALIES, own),
        latency={one.labels["le"]: one.value for one in _samples(routed, LATENCY, both)},
    )


def query(url: str, detector: str, revision: str) -> RevisionFigures | None:
    """The same counters from a Prometheus; None when it cannot be reached or does not know one of them."""
    from prometheus_api_client import PrometheusConnect
    from prometheus_api_client.exceptions import PrometheusApiClientException
    from requests import RequestException

    own = f'revision="{revision}"'
    both = f'detector="{detector}",{own}'

    selectors = {
        "requests": f"{REQUESTS}{{{both}}}",
        "errors": f'{REQUESTS}{{{both},outcome="error"}}',
        "rows": f"{ROWS}{{{own}}}",
        "anomalies": f"{ANOMALIES}{{{own}}}",
    }
    try:
        with PrometheusConnect(url, retry=0, timeout=QUERY_SECONDS) as server:
            totals = {name: server.custom_query(f"sum({one})") for name, one in selectors.items()}
            latency = server.custom_query(f"sum by (le) ({LATENCY}{{{both}}})")
        return _figures(
            latency={one["metric"]["le"]: float(one["value"][1]) for one in latency},
            **{name: float(found[0]["value"][1]) if found else None for name, found in totals.items()},
        )
    except (PrometheusApiClientException, RequestException, KeyError, IndexError, ValueError) as error:
        log.warning("%s does not tell the figures of %s: %s", url, revision, error)
        return None


def _figures(*, latency: Mapping[str, float], **totals: float | None) -> RevisionFigures | None:
    missing = [name for name, value in totals.items() if value is None or not math.isfinite(value)]
    if missing or not latency:
        log.warning("no figure for %s", ", ".join(missing) or "latency")
        return None
    cumulated = [latency[le] for le in sorted(latency, key=float)]
    counts = tuple(int(b - a) for a, b in pairwise((0, *cumulated)))
    return RevisionFigures(latency=counts, **{name: int(value or 0) for name, value in totals.items()})


def _samples(families: Iterable[Metric], name: str, labels: Mapping[str, str]) -> list[Sample]:
    return [
        one
        for family in families
        for one in family.samples
        if one.name == name and labels.items() <= one.labels.items()
    ]


def _total(families: Iterable[Metric], name: str, labels: Mapping[str, str]) -> float | None:
    found = _samples(families, name, labels)
    return sum(one.value for one in found) if found else None
