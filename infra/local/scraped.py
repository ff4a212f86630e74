"""What Prometheus scrapes of a home: one text of all that is counted here, and where the rest is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from ..detector_gauges import DetectorGauges
from .store import Store


class Scraped:
    """GET /metrics. Registers what becomes of the Detectors; `registries` belong to the event loop."""

    def __init__(self, store: Store, *registries: CollectorRegistry) -> None:
        self.registries = registries
        self.detectors = CollectorRegistry()
        self.detectors.register(DetectorGauges(store.documents))

    async def show(self, _: Request) -> Response:
        # The Detectors are read beside the loop: there may be many.
        read = asyncio.to_thread(generate_latest, self.detectors)
        text = b"".join([*map(generate_latest, self.registries), await read])
        return Response(text, media_type="text/plain; version=0.0.4")


def tell(file: Path, targets: Sequence[Mapping[str, Any]]) -> None:
    """Write addresses for `file_sd_configs`, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_bytes(orjson.dumps(targets))
    fresh.replace(file)
