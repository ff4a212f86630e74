"""What a stream asks of the revisions, whichever home they serve in, and how they answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from homeostat.eventing.errors import Fault, Reject, Retry, shown

Rows = NDArray[np.float64]

TOLD_CHANNELS = 3

JSON = {"content-type": "application/json"}

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


class Scorer(Protocol):
    """Belongs to one event loop."""

    async def score(self, detector: str, series: str, past: Rows, rows: Rows, unsure: bool) -> Scored:
        """The verdicts on `rows`, which follow on `past`. `unsure`: what a revision keeps of the series may
        be anything. Raises Reject when the revision refuses the rows, Retry while it cannot be asked."""

    async def shares(self, detector: str, revision: str, window: Rows) -> Mapping[str, float]:
        """The largest shares of the channels in the score of the window's last row; none when the revision
        cannot be asked any more: an alarm does not wait for its explanation."""

    async def close(self) -> None: ...


async def answered(ask: Ask, detector: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a V1 request. Raises Reject and Retry as `Scorer.score` does."""
    content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)  # NaN becomes null
    status, answer = await ask(detector, content)
    if status == 400:
        raise Reject(Fault("data", "refused by the revision that serves", _reason(answer)))
    if status != 200:
        raise Retry(f"{detector} cannot be scored: {status}, {_reason(answer)}", after=2)
    said: dict[str, Any] = orjson.loads(answer)
    return said


def scored(predictions: list[Any], said: Mapping[str, Any]) -> Scored:
    return Scored(
        [one["score"] for one in predictions],
        [one["anomaly"] for one in predictions],
        said["threshold"],
        said["revision"],
        int(said["tail"]),
    )


def largest(said: Mapping[str, Any]) -> dict[str, float]:
    """The largest shares in an answer with one row's."""
    shares: dict[str, float] = said["predictions"][0]["contributions"]
    return dict(sorted(shares.items(), key=lambda one: -one[1])[:TOLD_CHANNELS])


def path(detector: str) -> str:
    return f"v1/models/{detector}:predict"


def _reason(answer: bytes) -> str:
    try:
        return str(orjson.loads(answer)["error"])[:400]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return shown(answer[:60])
