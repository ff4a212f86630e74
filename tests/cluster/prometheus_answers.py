"""A Prometheus that knows what predictors of ours count, and answers the queries of `cluster/figures.py`.
Whether those are good PromQL is for a real one to say; here they are taken apart by metric and labels."""

from __future__ import annotations

import contextlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from homeostat.functions.canary import LATENCY_BUCKETS_MS, SCORE_BUCKETS
from homeostat.infra.cluster import figures
from tests.cluster.ports import on_a_port

BOUNDS = [*(str(one / 1000) for one in LATENCY_BUCKETS_MS), "+Inf"]
SCORE_BOUNDS = [*map(str, SCORE_BUCKETS), "+Inf"]
_QUERY = re.compile(r'(homeostat_\w+)\{revision="([^"]+)"(,outcome="error")?\}')
_PARTS = re.compile(r" or (?=label_replace\()")
_LABEL = re.compile(r'"figure", "(\w+)"')
_FIELDS = {figures.REQUESTS: "requests", figures.ROWS: "rows", figures.ANOMALIES: "anomalies"}


class Prometheus:
    """Counters by revision, all of them since its pods started."""

    def __init__(self) -> None:
        self.url = ""
        self.counted: dict[str, Counter[str]] = defaultdict(Counter)

    def traffic(self, revision: str, requests: int = 300, errors: int = 0, anomalies: int = 0) -> None:
        """So much more was asked of the revision, a row each time, at 3 ms."""
        self.counted[revision] += Counter(
            requests=requests, errors=errors, rows=requests, anomalies=anomalies
        )

    def answer(self, query: str) -> list[dict[str, Any]]:
        """Of a query that is several, each labelled, all of their samples."""
        found = []
        for part in _PARTS.split(query):
            figure = _LABEL.search(part)
            labels = {"figure": figure[1]} if figure else {}
            found += [{**one, "metric": one["metric"] | labels} for one in self._samples(part)]
        return found

    def _samples(self, query: str) -> list[dict[str, Any]]:
        asked = _QUERY.search(query)
        assert asked is not None, f"not a query of ours: {query}"
        metric, revision, only_errors = asked.groups()
        if revision not in self.counted:
            return []
        counted = self.counted[revision]
        if metric == figures.STARTED:
            return [_sample(0)]
        if metric == figures.LATENCY:
            return [_sample(counted["requests"] * (float(le) >= 0.005), le=le) for le in BOUNDS]
        if metric == figures.SCORES:
            # What is anomalous scores twice its threshold, the rest half of it.
            normal = counted["rows"] - counted["anomalies"]
            over = counted["anomalies"]
            return [
                _sample(normal * (float(le) >= 0.5) + over * (float(le) >= 2.0), le=le) for le in SCORE_BOUNDS
            ]
        return [_sample(counted["errors" if only_errors else _FIELDS[metric]])]


def _sample(value: float, **labels: str) -> dict[str, Any]:
    return {"metric": labels, "value": [0, str(value)]}


@contextlib.contextmanager
def serving_figures(prometheus: Prometheus) -> Iterator[Prometheus]:
    async def query(request: Request) -> JSONResponse:
        found = prometheus.answer(request.query_params["query"])
        return JSONResponse({"status": "success", "data": {"resultType": "vector", "result": found}})

    with on_a_port(Starlette(routes=[Route("/api/v1/query", query)])) as prometheus.url:
        yield prometheus
