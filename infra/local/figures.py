"""What a canary is judged on, measured on this machine: counters of the router's and of both model servers.

Without Prometheus the counters are read where they arise; with one, all but a shadow's are asked of it. A
figure that cannot be had makes the revision's figures None: that is never the same as zero.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

import aiohttp
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from homeostat.functions.canary import CanaryFacts, ShadowFigures
from homeostat.functions.detector import RevisionFigures

from ..observing.figures import of_counters, of_prometheus, quoted
from .serving import Serving

log = logging.getLogger(__name__)

SCRAPE_TIMEOUT = aiohttp.ClientTimeout(total=2)

REQUESTS = "homeostat_router_requests_total"
LATENCY = "homeostat_router_latency_seconds_bucket"
ROWS = "homeostat_rows_total"
ANOMALIES = "homeostat_anomalies_total"
SCORES = "homeostat_scores_bucket"
SHADOW_REQUESTS = "homeostat_shadow_requests_total"
SHADOW_ROWS = "homeostat_shadow_rows_total"
SHADOW_AGREED = "homeostat_shadow_agreed_total"


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
            shadow=shadow_figures(serving, detector, revision),
        )


def shadow_figures(serving: Serving, detector: str, revision: str) -> ShadowFigures | None:
    """The router's own counters of the detector's shadow; None where the revision is none, or not yet."""
    desired = serving.desired(detector)
    if not (desired and desired.shadow and desired.canary and desired.canary.revision == revision):
        return None
    routed = list(serving.router.registry.collect())
    both = {"detector": detector, "revision": revision}
    figures = {
        "requests": _total(routed, SHADOW_REQUESTS, both),
        "errors": _total(routed, SHADOW_REQUESTS, {**both, "outcome": "error"}),
        "rows": _total(routed, SHADOW_ROWS, both),
        "agreed": _total(routed, SHADOW_AGREED, both),
    }
    known = {name: int(value) for name, value in figures.items() if value is not None}
    return ShadowFigures(**known) if len(known) == len(figures) else None


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
    return of_counters(
        requests=_total(routed, REQUESTS, both),
        errors=_total(routed, REQUESTS, {**both, "outcome": "error"}),
        rows=_total(served, ROWS, own),
        anomalies=_total(served, ANOMALIES, own),
        latency=_buckets(routed, LATENCY, both),
        scores=_buckets(served, SCORES, own),
    )


def query(url: str, detector: str, revision: str) -> RevisionFigures | None:
    """The same counters from a Prometheus; None when it cannot be reached or does not know one of them."""
    own = f"revision={quoted(revision)}"
    both = f"detector={quoted(detector)},{own}"
    totals = {
        "requests": f"sum({REQUESTS}{{{both}}})",
        "errors": f'sum({REQUESTS}{{{both},outcome="error"}})',
        "rows": f"sum({ROWS}{{{own}}})",
        "anomalies": f"sum({ANOMALIES}{{{own}}})",
    }
    return of_prometheus(
        url,
        totals,
        latency=f"sum by (le) ({LATENCY}{{{both}}})",
        scores=f"sum by (le) ({SCORES}{{{own}}})",
    )


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


def _buckets(families: Iterable[Metric], name: str, labels: Mapping[str, str]) -> dict[str, float]:
    return {one.labels["le"]: one.value for one in _samples(families, name, labels)}
