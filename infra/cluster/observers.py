"""What a decision needs measured, measured on a cluster. Each function's process loads what its own eyes
need: the light ones neither numpy nor what reads tables.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry

from homeostat.eventing.codec import Context
from homeostat.eventing.messages import KafkaRecord, SamplesReceived
from homeostat.functions.canary import CanaryFacts
from homeostat.functions.detect_drift import DriftFacts
from homeostat.functions.detector import Batch, Detector, RevisionFigures
from homeostat.functions.score_stream import StreamFacts
from homeostat.functions.take_label import QualityFacts

from ..shell import Observe
from .executors import Cluster
from .figures import canary_facts, revision_figures
from .settings import Settings
from .state import state_file

Eyes = Mapping[type[Any], Observe]


def observers(
    function: str, settings: Settings, cluster: Cluster, registry: CollectorRegistry | None = None
) -> Eyes:
    """The eyes of one function; none of a function that decides on its Detector alone. `registry` takes what
    they count."""
    build = _EYES.get(function)
    return build(settings, cluster, registry) if build else {}


def _objects(settings: Settings, _: Cluster, __: CollectorRegistry | None) -> Eyes:
    from ..observing.batches import batches

    return {Batch: batches(settings.max_object_bytes)}


def _drift(_: Settings, __: Cluster, ___: CollectorRegistry | None) -> Eyes:
    """One replica has the rows; copies of its file outlive its pod (`state`)."""
    from ..observing.drift import DriftObserver, Woke
    from ..observing.drift_model import Models
    from .artifacts import stored_model

    observer = DriftObserver(state_file("detect-drift"), Models(stored_model))

    async def drift(event: Woke, context: Context, detector: Detector) -> DriftFacts | None:
        return await asyncio.to_thread(observer.observe, event, context, detector)

    return {DriftFacts: drift}


def _canary(settings: Settings, cluster: Cluster, _: CollectorRegistry | None) -> Eyes:
    async def canary(_: object, __: Context, detector: Detector) -> CanaryFacts | None:
        return await canary_facts(detector, cluster.objects, cluster.serving, settings.prometheus_url)

    return {CanaryFacts: canary}


def _labels(settings: Settings, _: Cluster, registry: CollectorRegistry | None) -> Eyes:
    """One replica has what was answered; copies of its file outlive its pod (`state`)."""
    from ..observing.labels import LabelObserver

    async def counters(detector: Detector) -> RevisionFigures | None:
        serving = detector.status.serving
        if serving is None:
            return None
        return await asyncio.to_thread(revision_figures, settings.prometheus_url, serving.name)

    return {QualityFacts: LabelObserver(state_file("take-label"), counters, registry).observe}


def _stream(settings: Settings, cluster: Cluster, registry: CollectorRegistry | None) -> Eyes:
    from ..observing.stream import StreamObserver
    from .scorer import Scorer, cluster_local

    scorer = Scorer(cluster.serving.mode, cluster_local(settings.namespace))
    observer = StreamObserver(scorer, registry=registry)

    async def stream(
        event: SamplesReceived | KafkaRecord, context: Context, detector: Detector
    ) -> StreamFacts | None:
        scorer.seen(detector)
        return await observer.observe(event, context, detector)

    return {StreamFacts: stream}


_EYES: Mapping[str, Callable[[Settings, Cluster, CollectorRegistry | None], Eyes]] = {
    "receive-data": _objects,
    "detect-drift": _drift,
    "roll-out": _canary,
    "score-stream": _stream,
    "take-label": _labels,
}
