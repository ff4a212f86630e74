"""The guard's own answers: a status, one fault, and nothing that helps who guesses."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from ..errors import Fault

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

CLOSE = (b"connection", b"close")
"""Sent where the rest of the body is not worth reading."""


class Refused(Exception):
    """The request ends at the door, with this status and fault."""

    def __init__(self, status: int, fault: Fault, *headers: tuple[bytes, bytes]) -> None:
        self.status, self.fault, self.headers = status, fault, headers
        super().__init__(str(fault))

    async def answer(self, send: Send) -> None:
        one = self.fault
        faults = [{"field": one.field, "value": one.value, "mend": one.mend}]
        body = orjson.dumps({"error": str(one), "faults": faults})
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def unknown_sender(door: str) -> Refused:
    """One answer for no token, a wrong, expired or revoked one, and a signature that does not hold."""
    mend = (
        f"send `Authorization: Bearer <token>` with a token of the door {door} "
        f"(homeostat tokens create {door}), or the signature that this door was given a secret for"
    )
    challenge = (b"www-authenticate", f'Bearer realm="{door}"'.encode())
    return Refused(401, Fault("authorization", "not accepted", mend), challenge)


def other_door(door: str) -> Refused:
    mend = f"it opens another door; make one for this door with `homeostat tokens create {door}`"
    return Refused(403, Fault("authorization", f"no token of the door {door}", mend))


def too_often(door: str, wait: float) -> Refused:
    seconds = max(1, math.ceil(wait))
    mend = f"send it again in {seconds} s, and slower from then on"
    fault = Fault("rate", f"above what the door {door} takes", mend)
    return Refused(429, fault, (b"retry-after", b"%d" % seconds))


def too_large(most: int) -> Refused:
    mend = f"send at most {most} bytes; put large data into storage and send its address"
    return Refused(413, Fault("body", f"over {most} bytes", mend), CLOSE)


def too_slow(seconds: float) -> Refused:
    fault = Fault("body", f"not complete after {seconds:g} s", "send it whole, and faster")
    return Refused(408, fault, CLOSE)


def headers_too_large(count: int, size: int, most: int, most_bytes: int) -> Refused:
    fault = Fault("headers", f"{count} headers of {size} bytes", f"at most {most} of {most_bytes} bytes")
    return Refused(431, fault, CLOSE)


def no_door() -> Refused:
    return Refused(404, Fault("path", "no door", "there is nothing here; look at the address again"))


def two_ways() -> Refused:
    mend = "write it without //, /./, /../, backslashes and control characters"
    return Refused(400, Fault("path", "not plain", mend))


def busy(after: float) -> Refused:
    fault = Fault("authorization", "not checked yet", "the keys of its issuer are not at hand; try again")
    return Refused(503, fault, (b"retry-after", b"%d" % max(1, math.ceil(after))))
