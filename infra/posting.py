"""How a function posts its events to the broker, in either home, before it acknowledges its own."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence

import httpx

from homeostat.eventing.doors.calling import authorization
from homeostat.eventing.errors import Retry
from homeostat.eventing.wire import WireEvent, encode

from .shell import Emit

SECONDS = 30.0


def poster(
    sink: str, token: Callable[[], str | None] = lambda: None, trust: ssl.SSLContext | bool = True
) -> Emit:
    """Post events to a broker's ingress. The token is asked for anew with each event: on a cluster it is
    renewed in its file. What is posted raises Retry when the broker does not take it."""
    client = httpx.AsyncClient(timeout=SECONDS, verify=trust)

    async def post(events: Sequence[WireEvent]) -> None:
        for event in events:
            headers, body = encode(event)
            try:
                answer = await client.post(
                    sink, headers=[*headers, *authorization(token()).items()], content=body
                )
            except httpx.TransportError as error:
                raise Retry(f"the broker at {sink} does not answer: {error}", kind="Unreachable") from error
            # Knative's ingresses answer 202, others that take events 200 or 204.
            if not answer.is_success:
                said = f"{answer.status_code}: {answer.text[:200]}"
                raise Retry(f"the broker at {sink} answered {said}", kind="Refused")

    return post
