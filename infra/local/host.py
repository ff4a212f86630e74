"""The host of a function that runs in a process of its own: the drift host, on one machine.

It shares the state directory with `homeostat up`, posts to the broker over HTTP, and carries out no
commands: only functions that decide on measurements are served apart.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import httpx

from homeostat.eventing.codec import Context
from homeostat.eventing.doors.calling import authorization, trust
from homeostat.eventing.errors import Retry
from homeostat.eventing.messages import InferenceRequest
from homeostat.eventing.wire import WireEvent, encode
from homeostat.functions.detect_drift import DriftFacts
from homeostat.functions.detector import Detector
from homeostat.models.drift import load_backend

from ..observing.drift import DriftObserver
from ..shell import Emit, Host
from .child import die_with_parent
from .settings import Settings
from .store import Store


def function_host() -> Host:
    """Build the host from `HOMEOSTAT_*`. The process ends with the home that started it."""
    die_with_parent()
    settings = Settings()
    observer = DriftObserver(settings.drift_db)

    async def drift(event: InferenceRequest, context: Context, detector: Detector) -> DriftFacts | None:
        return await asyncio.to_thread(observer.observe, event, context, detector)

    return Host(
        detectors=Store(settings.detectors_db),
        emit=poster(settings.sink, _token(settings), settings.tls_cert),
        observers={DriftFacts: drift},
    )


def _token(settings: Settings) -> str | None:
    given = settings.broker_token or settings.token
    return given.get_secret_value() if given else None


def poster(sink: str, token: str | None = None, certificate: Path | None = None) -> Emit:
    """Post events to a broker's ingress, with a token where its door asks for one, and trusting only the
    home's own certificate where it has one. Raises Retry when it does not take them."""
    client = httpx.AsyncClient(timeout=30, headers=authorization(token), verify=trust(certificate))

    async def post(events: Sequence[WireEvent]) -> None:
        for event in events:
            headers, body = encode(event)
            try:
                answer = await client.post(sink, headers=headers, content=body)
            except httpx.TransportError as error:
                raise Retry(f"the broker at {sink} does not answer: {error}") from error
            if answer.status_code != 202:
                raise Retry(f"the broker at {sink} answered {answer.status_code}: {answer.text[:200]}")

    return post


def warm(function: str) -> None:
    """Load what the function's first event would otherwise wait for (alibi-detect takes 5-11 s)."""
    if function == "detect-drift":
        threading.Thread(target=load_backend, daemon=True).start()
