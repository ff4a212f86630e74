"""What the stream asks of the revisions: scores of a series' next rows, and shares of single rows.

Scores are asked for at the router, as by any other client, so that canaries, figures and the drift test see
the stream's rows, each of them once. A revision keeps the last rows of each series itself
(`models.series`) and says how many went before the new ones; where they are not those that matter, because it
started again or the series came to it from another revision, it is told the series' past at its own door.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray

from homeostat.eventing.errors import Fault, Reject, Retry, shown
from homeostat.models.protocol import MAX_ROWS

from .router import Router

log = logging.getLogger(__name__)

Rows = NDArray[np.float64]

TOLD_CHANNELS = 3

SERIES_HEADER = "x-homeostat-series"
_JSON = {"content-type": "application/json"}

Ask = Callable[[str, bytes], Awaitable[tuple[int, bytes]]]
"""Detector and body of a request for predictions; status and body of the answer."""


@dataclass(frozen=True, slots=True)
class Scored:
    """`tail` is how many rows before its own a row's verdict depends on."""

    scores: list[float]
    flags: list[bool]
    threshold: float
    revision: str
    tail: int


class Scorer:
    """`url` names a ready revision's own server, or None (`Serving.url`). Belongs to one event loop."""

    def __init__(self, router: Router, url: Callable[[str, str], str | None]) -> None:
        self._router, self._url = router, url
        self._client = httpx.AsyncClient(timeout=60, trust_env=False)

    async def close(self) -> None:
        await self._client.aclose()

    async def score(self, detector: str, series: str, past: Rows, rows: Rows, unsure: bool) -> Scored:
        """The verdicts on `rows`, which follow on `past`. `unsure`: what a revision keeps of the series may
        be anything. Raises Reject when the revision refuses the rows, Retry while it cannot be asked."""
        name = f"stream:{series}"  # other clients of the revision name their series as they like
        body = {"instances": rows, "series": name, "reset": unsure}
        # The router sends a series to the same side of a canary every time.
        said = await self._ask(self._routed(quote(name)), detector, body)
        tail = int(said["tail"])
        if said["past"] >= min(len(past), tail):
            return _scored(said["predictions"], said)
        ask = self._direct(detector, said["revision"])
        whole = np.concatenate([past, rows])
        predictions: list[Any] = []
        for start in range(0, len(whole), MAX_ROWS):
            body = {"instances": whole[start : start + MAX_ROWS], "series": name, "reset": start == 0}
            predictions += (await self._ask(ask, detector, body))["predictions"]
        return _scored(predictions[-len(rows) :], said)

    async def shares(self, detector: str, revision: str, window: Rows) -> Mapping[str, float]:
        """The largest shares of the channels in the score of the window's last row; none when the revision
        cannot be asked any more: an alarm does not wait for its explanation."""
        body = {"instances": window[None, -MAX_ROWS:], "explain": True}
        try:
            said = await self._ask(self._direct(detector, revision), detector, body)
            shares = said["predictions"][0]["contributions"]
        except Exception as error:  # noqa: BLE001
            log.warning("%s did not explain a score: %s", revision, error)
            return {}
        return dict(sorted(shares.items(), key=lambda one: -one[1])[:TOLD_CHANNELS])

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

            headers = [*_JSON.items(), (SERIES_HEADER, series)]
            scope: dict[str, Any] = {
                "type": "http",
                "method": "POST",
                "path": f"/{detector}/{_path(detector)}",
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
                answer = await self._client.post(f"{url}/{_path(detector)}", content=content, headers=_JSON)
            except httpx.TransportError as error:
                raise Retry(f"{revision} cannot be asked: {type(error).__name__}", after=2) from error
            return answer.status_code, answer.content

        return ask

    async def _ask(self, ask: Ask, detector: str, body: Mapping[str, Any]) -> dict[str, Any]:
        content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)  # NaN becomes null
        status, answer = await ask(detector, content)
        if status == 400:
            raise Reject(Fault("data", "refused by the revision that serves", _reason(answer)))
        if status != 200:
            raise Retry(f"{detector} cannot be scored: {status}, {_reason(answer)}", after=2)
        said: dict[str, Any] = orjson.loads(answer)
        return said


def _path(detector: str) -> str:
    return f"v1/models/{detector}:predict"


def _scored(predictions: list[Any], said: Mapping[str, Any]) -> Scored:
    return Scored(
        [one["score"] for one in predictions],
        [one["anomaly"] for one in predictions],
        said["threshold"],
        said["revision"],
        int(said["tail"]),
    )


def _reason(answer: bytes) -> str:
    try:
        return str(orjson.loads(answer)["error"])[:400]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return shown(answer[:60])
