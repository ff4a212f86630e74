"""What the stream asks of the revisions: scores of a series' next rows, and shares of single rows.

Scores are asked for at the router, as by any other client, so that canaries, figures and the drift test see
the stream's rows, each of them once. A revision keeps the last rows of each series itself
(`models.series`) and says how many went before the new ones; where they are not those that matter, because it
started again or the series came to it from another revision, it is told the series' past at its own door.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np

from homeostat.eventing.errors import Retry
from homeostat.models.protocol import MAX_ROWS

from ..observing.scoring import JSON, Ask, Rows, Scored, answered, largest, path, scored
from .router import Router

log = logging.getLogger(__name__)

SERIES_HEADER = "x-homeostat-series"


class Scorer:
    """`url` names a ready revision's own server, or None (`Serving.url`). Belongs to one event loop."""

    def __init__(self, router: Router, url: Callable[[str, str], str | None]) -> None:
        self._router, self._url = router, url
        self._client = httpx.AsyncClient(timeout=60, trust_env=False)

    async def close(self) -> None:
        await self._client.aclose()

    async def score(self, detector: str, series: str, past: Rows, rows: Rows, unsure: bool) -> Scored:
        name = f"stream:{series}"  # other clients of the revision name their series as they like
        body = {"instances": rows, "series": name, "reset": unsure}
        # The router sends a series to the same side of a canary every time.
        said = await answered(self._routed(quote(name)), detector, body)
        tail = int(said["tail"])
        if said["past"] >= min(len(past), tail):
            return scored(said["predictions"], said)
        ask = self._direct(detector, said["revision"])
        whole = np.concatenate([past, rows])
        predictions: list[Any] = []
        for start in range(0, len(whole), MAX_ROWS):
            body = {"instances": whole[start : start + MAX_ROWS], "series": name, "reset": start == 0}
            predictions += (await answered(ask, detector, body))["predictions"]
        return scored(predictions[-len(rows) :], said)

    async def shares(self, detector: str, revision: str, window: Rows) -> Mapping[str, float]:
        body = {"instances": window[None, -MAX_ROWS:], "explain": True}
        try:
            return largest(await answered(self._direct(detector, revision), detector, body))
        except Exception as error:  # noqa: BLE001
            log.warning("%s did not explain a score: %s", revision, error)
            return {}

    def _routed(self, series: str) -> Ask:
        """In this very process, and therefore without a socket, tokens or certificates."""

        async def ask(detector: str, content: bytes) -> tuple[int, bytes]:
            status, parts = 500, list[bytes]()

            async def receive() -> dict[str, Any]:
                return {"type": "http.request", "body": content, "more_body": False}

            async def send(message: MutableMapping[str, Any]) -> None:
                nonlocal status
                status = message.get("status", status)
                parts.append(message.get("body", b""))

            headers = [*JSON.items(), (SERIES_HEADER, series)]
            scope: dict[str, Any] = {
                "type": "http",
                "method": "POST",
                "path": f"/{detector}/{path(detector)}",
            }
            scope["headers"] = [(name.encode(), value.encode()) for name, value in headers]
            await self._router(scope, receive, send)
            return status, b"".join(parts)

        return ask

    def _direct(self, detector: str, revision: str) -> Ask:
        url = self._url(detector, revision)
        if url is None:
            raise Retry(f"{revision} has just stopped serving", after=1)

        async def ask(detector: str, content: bytes) -> tuple[int, bytes]:
            try:
                answer = await self._client.post(f"{url}/{path(detector)}", content=content, headers=JSON)
            except httpx.TransportError as error:
                raise Retry(f"{revision} cannot be asked: {type(error).__name__}", after=2) from error
            return answer.status_code, answer.content

        return ask
