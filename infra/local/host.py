"""The host of a function that runs in a process of its own: the drift host, on one machine.

It shares the state directory with `homeostat up`, posts to the broker over HTTP, and carries out no
commands: only functions that decide on measurements are served apart.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp

from homeostat.eventing.codec import Context
from homeostat.eventing.doors.calling import trust
from homeostat.functions.detect_drift import DriftFacts
from homeostat.functions.detector import Detector

from ..observing.drift import DriftObserver, Woke
from ..posting import poster
from ..serve import function_app
from ..shell import Host
from .child import die_with_parent
from .settings import Settings
from .store import Store


def function_host() -> Host:
    """Build the host from `HOMEOSTAT_*`. The process ends with the home that started it."""
    die_with_parent()
    settings = Settings()
    observer = DriftObserver(settings.drift_db)
    given = settings.broker_token or settings.token
    token = given.get_secret_value() if given else None

    async def drift(event: Woke, context: Context, detector: Detector) -> DriftFacts | None:
        return await asyncio.to_thread(observer.observe, event, context, detector)

    return Host(
        detectors=Store(settings.detectors_db),
        emit=poster(settings.sink, lambda: token, trust(settings.tls_cert)),
        observers={DriftFacts: drift},
    )


def app(function: str) -> ASGIApp:
    """What `python -m homeostat.infra.serve` serves."""
    return function_app(function, function_host())
