"""A revision's counters on a cluster, of a real Prometheus that scrapes the metrics of predictors."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from homeostat.functions.canary import SCORE_BUCKETS
from homeostat.functions.detector import Canary, Cause, Revision, RevisionFigures
from homeostat.infra.cluster import figures
from homeostat.infra.cluster.figures import restarts, revision_figures
from homeostat.infra.observing.figures import number, quoted
from homeostat.models.predictor_metrics import Metrics
from tests.cluster.scraped import Pod, Prometheus, eventually, pods, prometheus

NOW = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def prom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with prometheus(tmp_path_factory.mktemp("prometheus")) as found:
        yield found


def trial(name: str = "pump-new") -> Canary:
    revision = Revision(name=name, uri="s3://models/new", algorithm="forest", version="1")
    cause = Cause(id="c", correlationid="c")
    return Canary(revision=revision, percent=5, started=NOW, step_started=NOW, cause=cause)


def counted(requests: int, *, errors: int = 0, place: int = 2, rejected: int = 0) -> RevisionFigures:
    """What pods tell after so many requests, all of them in one bucket."""
    latency = [0] * 13
    latency[place] = requests + errors + rejected
    scores = [0] * (len(SCORE_BUCKETS) + 1)
    scores[SCORE_BUCKETS.index(2.0)] = scores[SCORE_BUCKETS.index(0.5)] = requests
    return RevisionFigures(
        requests=requests + errors + rejected,
        errors=errors,
        rows=2 * requests,
        anomalies=requests,
        latency=tuple(latency),
        scores=tuple(scores),
    )


def test_a_revision_is_the_sum_of_its_pods_and_nothing_of_another_one(prom: Prometheus) -> None:
    first, second, other = Pod("sum-new"), Pod("sum-new"), Pod("sum-new-er")
    with pods(first, second, other):
        prom.scrape(*(one.address for one in (first, second, other)))
        eventually(lambda: revision_figures(prom.url, "sum-new"), counted(0))
        first.serve(10, errors=2, rejected=3)
        second.serve(20)
        other.serve(7)
        eventually(lambda: revision_figures(prom.url, "sum-new"), counted(30, errors=2, rejected=3))
        eventually(lambda: revision_figures(prom.url, "sum-new-er"), counted(7))


def test_a_pod_that_is_gone_goes_on_counting_as_long_as_another_one_is_there(prom: Prometheus) -> None:
    first, second = Pod("gone"), Pod("gone")
    with pods(first, second):
        prom.scrape(first.address, second.address)
        first.serve(10)
        second.serve(5, errors=1)
        eventually(lambda: revision_figures(prom.url, "gone"), counted(15, errors=1))
        first.stop()
        second.serve(1)
        eventually(lambda: revision_figures(prom.url, "gone"), counted(16, errors=1))
        second.stop()
        eventually(lambda: revision_figures(prom.url, "gone"), None)


def test_a_container_that_starts_again_is_a_restart_and_a_new_pod_is_none(prom: Prometheus) -> None:
    one, other = Pod("pump-again"), Pod("pump-again")
    canary = trial("pump-again")

    def again() -> tuple[int, bool]:
        return restarts(prom.url, canary, 120), revision_figures(prom.url, "pump-again") is not None

    with pods(one):
        prom.scrape(one.address, other.address)
        eventually(again, (0, True))
        for count in (1, 2):
            time.sleep(1)  # it was scraped
            one.stop()
            one.start()
            eventually(again, (count, True))
        other.start()
        other.serve(3)
        eventually(lambda: revision_figures(prom.url, "pump-again"), counted(3))
        assert again() == (2, True)
        other.stop()


class Broken(Collector):
    """A counter that is no number."""

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(figures.ROWS, "", labels=["revision", "pod"])
        family.add_metric(["broken", "x"], float("nan"))
        return [family]


def test_a_figure_that_is_no_number_is_no_figure(prom: Prometheus) -> None:
    one = Pod("broken", extra=[Broken()])
    with pods(one):
        prom.scrape(one.address)
        time.sleep(1.5)
        eventually(lambda: number(prom.url, 'homeostat_model_info{revision="broken"}'), 1.0)
        assert revision_figures(prom.url, "broken") is None
        assert number(prom.url, 'sum(homeostat_rows_total{revision="broken"})') is None


@pytest.mark.parametrize("missing", ["requests", "request_seconds", "anomalies", "scores"])
def test_a_metric_that_is_missing_is_no_zero(prom: Prometheus, missing: str) -> None:
    """A predictor of before, say, that does not count its requests."""
    one = Pod(f"without-{missing}", without=f"homeostat_{missing}")
    with pods(one):
        prom.scrape(one.address)
        name = quoted(one.revision)
        eventually(lambda: number(prom.url, f"homeostat_model_info{{revision={name}}}"), 1.0)
        assert revision_figures(prom.url, one.revision) is None


def test_what_nobody_scrapes_has_no_figures_and_no_restarts(prom: Prometheus) -> None:
    assert revision_figures(prom.url, "nobody") is None
    assert restarts(prom.url, trial(), 60) == 0


@pytest.mark.parametrize("name", ['a"} or vector(1) or x{y="', "a\\", "a\nb", "ü"])
def test_a_name_is_a_name_in_a_query_whatever_is_in_it(prom: Prometheus, name: str) -> None:
    """Asked of Prometheus' parser: no error, and nothing found."""
    query = f"homeostat_model_info{{revision={quoted(name)}}}"
    answer = httpx.get(f"{prom.url}/api/v1/query", params={"query": query}).json()
    assert answer == {"status": "success", "data": {"resultType": "vector", "result": []}}
    assert revision_figures(prom.url, name) is None


def test_a_prometheus_that_is_away_or_hangs_gives_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    assert revision_figures(NOWHERE, "pump-new") is None
    assert restarts(NOWHERE, trial(), 60) == 0
    monkeypatch.setattr("homeostat.infra.observing.figures.QUERY_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        assert revision_figures(f"http://127.0.0.1:{silent.getsockname()[1]}", "pump-new") is None
        assert time.monotonic() - begun < 3


def test_every_metric_that_is_asked_for_is_one_that_predictors_have() -> None:
    registry = CollectorRegistry()
    Metrics(registry, "pump-new", "forest", "1")
    there = {sample.name for family in registry.collect() for sample in family.samples}
    asked = {value for value in vars(figures).values() if re.fullmatch(r"homeostat_[a-z_]+", str(value))}
    assert len(asked) == 7
    assert asked <= there
