"""CloudEvents' abuse protection: a sender asks with OPTIONS whether it may send here (HTTP Webhook, §4).

Azure Event Grid asks so before it sends the CloudEvents schema. Permission is not authentication: who may
post is for the door's token to say. `WebHook-Request-Callback` is never followed: no address is opened
because a request said so.
"""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from ..errors import Fault, Reject, shown

_ORIGIN = re.compile(r"[A-Za-z0-9*]([A-Za-z0-9.*-]{0,251}[A-Za-z0-9])?")
_RATE = re.compile(r"[1-9][0-9]{0,8}")


async def options(request: Request) -> Response:
    """Grant what is asked. Raises Reject when origin or rate are none."""
    allow = {"allow": "OPTIONS, POST"}
    origin = request.headers.get("webhook-request-origin")
    if origin is None:
        return Response(headers=allow)
    rate = request.headers.get("webhook-request-rate")
    wrong = []
    if not _ORIGIN.fullmatch(origin):
        wrong.append(
            Fault("webhook-request-origin", shown(origin), "send a DNS name, such as events.example.com")
        )
    if rate is not None and not _RATE.fullmatch(rate):
        wrong.append(Fault("webhook-request-rate", shown(rate), "send requests per minute, such as 120"))
    if wrong:
        raise Reject(wrong)
    return Response(headers=allow | {"webhook-allowed-origin": origin, "webhook-allowed-rate": rate or "*"})
