"""What a canary is judged on, on a cluster: KServe says whether it is there, Prometheus what it did.

The counters are the predictors' own (`models.predictor_metrics`), summed over all pods of a revision by the
label `revision`, which each pod knows from its InferenceService. Knative's and the gateways' figures are not
asked: they change their names with their versions, and a query that returns nothing is no zero.

Nobody copies requests to a shadow here: no router of ours stands before the predictors, KServe has no mirror,
and its payload log comes late and in no order. A canary that should begin in the shadow begins at its first
step instead, and its verdict says so.
"""

from __future__ import annotations

import asyncio
from math import ceil

from homeostat.functions.canary import CanaryFacts
from homeostat.functions.detector import Canary, Detector, RevisionFigures

from ..observing.figures import number, of_prometheus, quoted
from .client import INFERENCE_SERVICES, Objects
from .inference_service import Options
from .readiness import of_canary

REQUESTS = "homeostat_requests_total"
LATENCY = "homeostat_request_seconds_bucket"
ROWS = "homeostat_rows_total"
ANOMALIES = "homeostat_anomalies_total"
SCORES = "homeostat_scores_bucket"
THERE = "homeostat_model_info"
STARTED = "homeostat_start_time_seconds"

KEPT = "1h"
"""A pod that is gone goes on counting for so long: without it the sum would fall, as counters do that were
reset, and the step would be judged on all that the revision's other pods ever did. That is what happens after
this time, and when a container starts again in its pod: more of the revision's own past is judged, none of
another's. `increase` over a step's time would be an estimate, and would miss what a new pod counted before
it was first scraped."""


async def canary_facts(
    detector: Detector, objects: Objects, options: Options, prometheus_url: str
) -> CanaryFacts | None:
    """Both revisions' counters as they stand now; None while there is no canary. Raises Retry while the
    InferenceService cannot be read."""
    trial, stable = detector.status.canary, detector.status.serving
    if trial is None:
        return None

    async def figures(revision: str) -> RevisionFigures | None:
        return await asyncio.to_thread(revision_figures, prometheus_url, revision)

    async def nothing() -> None:
        return None

    now, canary, before, again = await asyncio.gather(
        asyncio.to_thread(objects.get, INFERENCE_SERVICES, detector.name),
        figures(trial.revision.name),
        figures(stable.name) if stable else nothing(),
        asyncio.to_thread(restarts, prometheus_url, trial, (detector.now - trial.started).total_seconds()),
    )
    said = of_canary(detector.name, trial.revision, now, options)
    return CanaryFacts(
        # KServe's word alone: a Prometheus that is away neither makes a canary ready nor takes that from it.
        ready=said.ready,
        refused=said.refused,
        canary=canary,
        stable=before,
        restarts=again,
        copies=False,
    )


def revision_figures(url: str, revision: str) -> RevisionFigures | None:
    """The revision's counters; None when one of them is not to be had, or none of its pods is scraped now."""
    own = f"revision={quoted(revision)}"

    def summed(metric: str, by: str = "", more: str = "") -> str:
        kept = f"sum{by}(last_over_time({metric}{{{own}{more}}}[{KEPT}]))"
        # What is kept of pods that are gone is no figure by itself.
        return f"{kept} and on() {THERE}{{{own}}}"

    totals = {
        "requests": summed(REQUESTS),
        "errors": summed(REQUESTS, more=',outcome="error"'),
        "rows": summed(ROWS),
        "anomalies": summed(ANOMALIES),
    }
    by_bound = {
        name: summed(metric, by=" by (le) ") for name, metric in (("latency", LATENCY), ("scores", SCORES))
    }
    return of_prometheus(url, totals, **by_bound)


def restarts(url: str, trial: Canary, seconds: float) -> int:
    """How often a container of the canary started again in its pod since it is on trial, as far as is known:
    an answer that is missing is none, and says nothing about whether the canary is ready. A container that
    never got so far as to be scraped is not counted here, but is not ready either."""
    span = max(60, ceil(seconds))
    query = f"sum(changes({STARTED}{{revision={quoted(trial.revision.name)}}}[{span}s]))"
    return int(number(url, query) or 0)
