"""What the gateway answers, and how it reads: nothing larger than allowed, every fault named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from ..errors import Fault, Reject, Retry, shown

MAX_FAULTS = 100
"""Of a group with thousands of bad alerts the first hundred faults tell enough."""


class Refused(Exception):
    """The request ends here with this status and this fault."""

    def __init__(self, status: int, fault: Fault, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.fault, self.headers = status, fault, headers
        super().__init__(str(fault))


def faulty(status: int, found: Sequence[Fault], headers: Mapping[str, str] | None = None) -> Response:
    """An answer that names field, value and mend of each fault."""
    told = list(found[:MAX_FAULTS])
    if more := len(found) - len(told):
        told.append(
            Fault("faults", f"{more} more", f"only the first {MAX_FAULTS} are shown; mend those first")
        )
    document = {
        "error": "; ".join(map(str, told)),
        "faults": [{"field": one.field, "value": one.value, "mend": one.mend} for one in told],
    }
    return JSONResponse(document, status, headers=headers)


def _rejected(_: Request, error: Reject) -> Response:
    return faulty(400, error.faults)


def _later(_: Request, error: Retry) -> Response:
    fault = Fault("broker", str(error), "nothing was taken; send it again")
    return faulty(503, [fault], {"retry-after": str(max(1, round(error.after)))})


def _refused(_: Request, error: Refused) -> Response:
    return faulty(error.status, [error.fault], error.headers)


def _routed(request: Request, error: HTTPException) -> Response:
    """Starlette's own 404 and 405, in our words."""
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        fault = Fault("method", shown(request.method), f"this door takes {allowed}")
    else:
        fault = Fault("path", shown(request.url.path), "openapi.json lists the doors")
    return faulty(error.status_code, [fault], error.headers)


def _gone(_: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody is there to read it


HANDLERS: Mapping[Any, Any] = {
    Reject: _rejected,
    Retry: _later,
    Refused: _refused,
    HTTPException: _routed,
    ClientDisconnect: _gone,
}


async def read(request: Request, limit: int) -> bytes:
    """The body, as far as it may go. Raises Refused (413, 415)."""
    if (coding := request.headers.get("content-encoding", "identity").lower()) != "identity":
        raise Refused(415, Fault("content-encoding", shown(coding), "send the body as it is, not compressed"))
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise _large(announced[:20], limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _large(f"over {limit}", limit)
    return bytes(body)


def _large(size: str, limit: int) -> Refused:
    mend = f"send at most {limit} bytes; split the group (max_alerts), or send an object's address"
    return Refused(413, Fault("body", f"{size} bytes", mend))


def media(request: Request) -> str:
    """The content type without its parameters, in lower case; empty when the sender names none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def only(request: Request, *allowed: str) -> None:
    """Raises Refused (415) for a body that says it is something else than JSON or what is `allowed`."""
    named = media(request)
    readable = not named or named.endswith(("/json", "+json")) or named in allowed
    # An event format that is not read here (HTTP protocol binding, sections 3.2 and 3.3).
    if not readable or (named.startswith("application/cloudevents") and not named.endswith("+json")):
        mend = f"send {' or '.join(['application/json', *allowed])}"
        raise Refused(415, Fault("content-type", shown(named), mend))
