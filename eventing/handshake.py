"""CloudEvents' abuse protection: a sender asks with OPTIONS whether it may send here (HTTP Webhook, §4).

Azure Event Grid asks so before it sends the CloudEvents schema. Permission is not authentication: who may
post is for the door's token to say. `WebHook-Request-Callback` is never followed: no address is opened
because a request said so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .errors import Fault, Reject, shown

ORIGIN = r"^[A-Za-z0-9*]([A-Za-z0-9.*-]{0,251}[A-Za-z0-9])?$"
RATE = r"^[1-9][0-9]{0,8}$"
_ORIGIN, _RATE = re.compile(ORIGIN), re.compile(RATE)


def permission(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that answer OPTIONS; what is asked is granted. Names are lower case. Raises Reject when
    origin or rate are none."""
    origin = headers.get("webhook-request-origin")
    rate = headers.get("webhook-request-rate")
    wrong = []
    if origin is not None and not _ORIGIN.fullmatch(origin):
        mend = "send a DNS name, such as events.example.com"
        wrong.append(Fault("webhook-request-origin", shown(origin), mend))
    if rate is not None and not _RATE.fullmatch(rate):
        wrong.append(Fault("webhook-request-rate", shown(rate), "send requests per minute, such as 120"))
    if wrong:
        raise Reject(wrong)
    granted = {"webhook-allowed-origin": origin, "webhook-allowed-rate": rate or "*"} if origin else {}
    return {"allow": "OPTIONS, POST", **granted}
