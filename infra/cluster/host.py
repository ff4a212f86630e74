"""The host of a function that is a Knative Service: its Detectors are custom resources, its hands Kubernetes'
and Kubeflow's APIs, and it has the rights of its own ServiceAccount.

A claimed decision that could not be carried out is taken up again when a replica starts and every minute
after, as its event may have become a dead letter meanwhile. What a function remembers beside its Detectors is
restored before it opens it, and copied to the object store while it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.types import ASGIApp

from homeostat import pipelines
from homeostat.functions.work import WorkFacts

from ..detector_gauges import DetectorGauges
from ..posting import poster
from ..serve import GATEWAY, Lifespan, function_app
from ..served import Served
from ..shell import Host, finish_all
from . import kfp_runs
from .access import from_pod, token_in
from .aliases import Aliases
from .client import DETECTORS, Objects
from .detectors import DetectorObjects
from .executors import Cluster, bound
from .experiments import Experiments
from .inference_service import Options
from .observers import observers
from .settings import Settings, read
from .state import kept_state
from .train_jobs import TrainJobs
from .work import watch

if TYPE_CHECKING:
    from ..observing.kept import Kept

log = logging.getLogger(__name__)

FINISH_SECONDS = 60.0
GAUGES = "roll-out"
"""Whose pod shows what becomes of every Detector: ticks keep it awake, and it may list them."""
PREDICTOR = "predictor"
"""Who the pods of models are (infra/base/serving/account.yaml)."""
PIPELINE = Path(pipelines.__file__).parent / "compiled" / "training.yaml"


def app(function: str) -> ASGIApp:
    """What `python -m homeostat.infra.serve` serves in a pod.

    Raises Reject for what its environment lacks, RuntimeError outside a pod.
    """
    return served(function, read(os.environ), from_pod())


def served(function: str, settings: Settings, http: httpx.Client) -> ASGIApp:
    """The app of a function, or of the gateway; `http` is the API server, as its ServiceAccount."""
    if function == GATEWAY:
        from .gateway import gateway_app  # functions wake without it

        emit = poster(settings.sink, settings.token, settings.trust())
        return gateway_app(settings, Objects(http, settings.namespace), emit)
    counted = Served()
    if function == GAUGES:
        detectors = Objects(http, settings.namespace)
        counted.registry.register(DetectorGauges(lambda: detectors.list(DETECTORS)))
    state = kept_state(function, settings)
    if state:
        state.restore()
    host = function_host(function, settings, http, counted.registry)
    return function_app(function, host, counted, finishing(host, state))


def function_host(
    function: str, settings: Settings, http: httpx.Client, registry: CollectorRegistry | None = None
) -> Host:
    """What the function has to work with; `registry` takes what its eyes count."""
    objects = Objects(http, settings.namespace)
    detectors = DetectorObjects(objects, function)
    options = Options(settings.serving_mode, settings.sink, PREDICTOR)
    runs = _runs(settings, objects, detectors)
    experiments = Experiments(objects, detectors.owner) if settings.katib else None
    aliases = Aliases(settings.tracking_uri) if function == "roll-out" else None
    cluster = Cluster(objects, detectors, options, runs, experiments, aliases)
    return Host(
        detectors=detectors,
        emit=poster(settings.sink, settings.token, settings.trust()),
        executors=bound(cluster),
        observers={**observers(function, settings, cluster, registry), WorkFacts: watch(runs, experiments)},
    )


def _runs(settings: Settings, objects: Objects, detectors: DetectorObjects) -> kfp_runs.Runs | TrainJobs:
    places = kfp_runs.Places(
        settings.models_root, settings.tracking_uri, settings.sink, settings.pipelines_namespace
    )
    if not settings.pipelines_url:
        return TrainJobs(objects, detectors.owner, places, authorities=settings.sink_authorities)
    # Where Kubeflow has one user only, it asks for no token, and none is mounted.
    token = token_in(kfp_runs.TOKEN) if kfp_runs.TOKEN.exists() else None
    return kfp_runs.Runs(settings.pipelines_url, PIPELINE, places, token=token)


def finishing(host: Host, state: Kept | None = None) -> Lifespan:
    """Take up what is not carried out, and copy what is remembered, while the app runs."""

    async def again() -> None:
        while True:
            try:
                await finish_all(host)
            except Exception:
                log.exception("what is not carried out cannot be looked up")
            # Replicas that started together do not stay together.
            await asyncio.sleep(FINISH_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - no secret

    @contextlib.asynccontextmanager
    async def running(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(again())
        async with state.running() if state else contextlib.nullcontext():
            yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    return running
