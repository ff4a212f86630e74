"""What the stream asks of the revisions on a cluster, over HTTP, at Services whose names follow from the
Detector's and its revisions': no address comes from an event, and no right is needed to look for one.

Which pod answers cannot be known: a share is drawn for each request, and a revision may have several pods. So
nothing is left to what a pod remembers of a series: the rows that went before go with each request (`past`),
where neither the figures nor the drift test count them again.

In Standard mode each revision is a Service of its own. A series goes to one side of a canary, as on one
machine, and what the canary does not score is asked of the stable revision. In Knative mode there is one
address for both, and whoever answers says which it is; what was not scored is asked again there, and what is
refused then as well is no reason to give its event up while a canary may be to blame.

That an alarm is explained is a request of one row more, and logged as such: KServe's logger stands before
every pod. Where another revision answers, the alarm stays without shares, for they would not be of its score.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import httpx

from homeostat.eventing.errors import Fault, Reject, Retry, shown
from homeostat.functions.detector import Detector, Revision, Status
from homeostat.models.protocol import MAX_ROWS

from ..observing.places import place
from ..observing.scoring import JSON, Rows, Scored, answered, largest, path, scored
from .inference_service import short

log = logging.getLogger(__name__)

SECONDS = 15.0
ATTEMPTS = 3
"""So often a request is made while there are two revisions, within the minute that an event has."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def cluster_local(namespace: str) -> Callable[[str], str]:
    """The address of a Service by its name. Its port is 80, which headless Services do not have (KServe's
    `serviceClusterIPNone`)."""
    return lambda service: f"http://{service}.{namespace}.svc.cluster.local"


class Scorer:
    """Belongs to one event loop. `seen` has to be told of a Detector before its rows are scored."""

    def __init__(self, mode: Literal["knative", "standard"], address: Callable[[str], str]) -> None:
        self._mode, self._address = mode, address
        self._seen: dict[str, Status] = {}
        self._client = httpx.AsyncClient(timeout=SECONDS, trust_env=False)

    async def close(self) -> None:
        await self._client.aclose()

    def seen(self, detector: Detector) -> None:
        """Which revisions the Detector has now; the stream asks for its rows a moment later."""
        self._seen[detector.name] = detector.status

    async def score(self, detector: str, series: str, past: Rows, rows: Rows, unsure: bool) -> Scored:
        body = {"instances": rows, "past": past[-MAX_ROWS:]}
        *others, last = self._services(detector, series)
        for service in others:
            try:
                said = await self._asked(service, detector, body)
            except (Retry, Reject) as error:
                log.info("%s did not score rows of %s: %s", service, detector, error)
            else:
                return scored(said["predictions"], said)
        try:
            said = await self._asked(last, detector, body)
        except Reject as error:
            if last in others:  # perhaps it was the canary each time
                raise Retry(str(error), after=2) from error
            raise
        return scored(said["predictions"], said)

    async def shares(self, detector: str, revision: str, window: Rows) -> Mapping[str, float]:
        body = {"instances": window[-1:], "past": window[:-1][-MAX_ROWS:], "explain": True}
        try:
            said = await self._asked(self._service_of(detector, revision), detector, body)
            return largest(said) if said["revision"] == revision else {}
        except Exception as error:  # noqa: BLE001
            log.warning("%s did not explain a score: %s", revision, error)
            return {}

    def _services(self, detector: str, series: str) -> list[str]:
        """Where to ask, one after the other until one answers."""
        status = self._seen[detector]
        stable, canary = status.serving, status.canary
        if self._mode == "knative":
            return [f"{detector}-predictor"] * (ATTEMPTS if canary and stable else 1)
        # The same name as on one machine, where other clients of a revision name their series too.
        drawn = place(detector, f"stream:{series}") * 100
        sides = [canary.revision] if canary and (stable is None or drawn < canary.percent) else []
        return [_service(detector, one) for one in (*sides, *([stable] if stable else []))]

    def _service_of(self, detector: str, revision: str) -> str:
        if self._mode == "knative":
            return f"{detector}-predictor"
        return next(
            _service(detector, one) for one in _revisions(self._seen[detector]) if one.name == revision
        )

    async def _asked(self, service: str, detector: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if not _LABEL.fullmatch(service):
            raise Reject(Fault("revision", shown(service), "is no name of a Service"))

        async def ask(detector: str, content: bytes) -> tuple[int, bytes]:
            try:
                url = f"{self._address(service)}/{path(detector)}"
                answer = await self._client.post(url, content=content, headers=JSON)
            except httpx.TransportError as error:
                raise Retry(f"{service} cannot be asked: {type(error).__name__}", after=2) from error
            return answer.status_code, answer.content

        return await answered(ask, detector, body)


def _revisions(status: Status) -> Iterator[Revision]:
    if status.canary:
        yield status.canary.revision
    if status.serving:
        yield status.serving


def _service(detector: str, revision: Revision) -> str:
    """As KServe names it in Standard mode (`PredictorServiceName`)."""
    return f"{detector}-{short(detector, revision)}-predictor"
