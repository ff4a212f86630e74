"""What the stream asks of the revisions: scores of a series' next rows, and shares of single rows.

Scores are asked for at the router, as by any other client, so that canaries, figures and the drift test see
the stream's rows, each of them once. A revision keeps the last rows of each series itself
(`models.series`) and says how many went before the new ones; where they are not those that matter, because it
started again or the series came to it from another revision, it is told the series' past at its own door.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
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

ROUTER = "http://router"
TOLD_CHANNELS = 3


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
        self._url = url
        # In this very process, and therefore without tokens or certificates.
        self._client = httpx.AsyncClient(
            timeout=60, mounts={ROUTER: httpx.ASGITransport(app=router)}, trust_env=False
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def score(self, detector: str, series: str, past: Rows, rows: Rows, unsure: bool) -> Scored:
        """The verdicts on `rows`, which follow on `past`. `unsure`: what a revision keeps of the series may
        be anything. Raises Reject when the revision refuses the rows, Retry while it cannot be asked."""
        name = f"stream:{series}"  # other clients of the revision name their series as they like
        body = {"instances": rows, "series": name, "reset": unsure}
        # The router sends a series to the same side of a canary every time.
        said = await self._ask(f"{ROUTER}/{detector}", detector, body, {"x-homeostat-series": quote(name)})
        tail = int(said["tail"])
        if said["past"] >= min(len(past), tail):
            return _scored(said["predictions"], said)
        url = self._direct(detector, said["revision"])
        whole = np.concatenate([past[len(past) - min(len(past), tail) :], rows])
        predictions: list[Any] = []
        for start in range(0, len(whole), MAX_ROWS):
            body = {"instances": whole[start : start + MAX_ROWS], "series": name, "reset": start == 0}
            predictions += (await self._ask(url, detector, body))["predictions"]
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

    def _direct(self, detector: str, revision: str) -> str:
        url = self._url(detector, revision)
        if url is None:
            raise Retry(f"{revision} has just stopped serving", after=1)
        return url

    async def _ask(
        self, base: str, detector: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)  # NaN becomes null
        try:
            answer = await self._client.post(
                f"{base}/v1/models/{detector}:predict",
                content=content,
                headers={"content-type": "application/json", **(headers or {})},
            )
        except httpx.TransportError as error:
            raise Retry(f"{detector} cannot be scored: {type(error).__name__}", after=2) from error
        if answer.status_code == 400:
            raise Reject(Fault("data", "refused by the revision that serves", _reason(answer)))
        if answer.status_code != 200:
            raise Retry(f"{detector} cannot be scored: {answer.status_code}, {_reason(answer)}", after=2)
        said: dict[str, Any] = orjson.loads(answer.content)
        return said


def _scored(predictions: list[Any], said: Mapping[str, Any]) -> Scored:
    return Scored(
        [one["score"] for one in predictions],
        [one["anomaly"] for one in predictions],
        said["threshold"],
        said["revision"],
        int(said["tail"]),
    )


def _reason(answer: httpx.Response) -> str:
    try:
        return str(orjson.loads(answer.content)["error"])[:400]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return shown(answer.content[:60])
