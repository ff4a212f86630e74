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

ORIGIN = r"^[A-Za-z0-9*]([A-Za-z0-9.*-]{0,251}[A-Za-z0-9])?$"
RATE = r"^[1-9][0-9]{0,8}$"
_ORIGIN, _RATE = re.compile(ORIGIN), re.compile(RATE)


async def options(request: Request) -> Response:
    """Grant what is asked. Raises Reject when origin or rate are none."""
    origin = request.headers.get("webhook-request-origin")
    rate = request.headers.get("webhook-request-rate")
    wrong = []
    if origin is not None and not _ORIGIN.fullmatch(origin):
        mend = "send a DNS name, such as events.example.com"
        wrong.append(Fault("webhook-request-origin", shown(origin), mend))
    if rate is not None and not _RATE.fullmatch(rate):
        wrong.append(Fault("webhook-request-rate", shown(rate), "send requests per minute, such as 120"))
    if wrong:
        raise Reject(wrong)
    granted = {"webhook-allowed-origin": origin, "webhook-allowed-rate": rate or "*"} if origin else {}
    return Response(headers={"allow": "OPTIONS, POST", **granted})
