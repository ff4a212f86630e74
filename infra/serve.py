"""One function behind HTTP: a CloudEvent in, 202 out. One image serves any of them by name.

    python -m homeostat.infra.serve detect-drift --port 8081

Errors are classed for the sender: 4xx is never retried (the event ends in the dead letters with its faults),
503 carries Retry-After.
"""

from __future__ import annotations

import argparse
import logging
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from homeostat.eventing import wire
from homeostat.eventing.errors import Fault, Reject, Retry
from homeostat.functions import FUNCTIONS

from .shell import Host, handle

log = logging.getLogger(__name__)

MAX_BODY = 16 * 1024 * 1024


def function_app(function: str, host: Host) -> Starlette:
    """The ASGI app of one function: POST / takes a CloudEvent, GET /healthz and /readyz answer probes."""

    async def receive(request: Request) -> Response:
        try:
            event = wire.decode(request.headers.items(), await _body(request))
            await handle(function, event, host)
        except Reject as rejected:
            return _rejected(rejected)
        except Retry as later:
            return JSONResponse(
                {"error": str(later)}, 503, headers={"retry-after": str(max(1, round(later.after)))}
            )
        except Exception:
            log.exception("%s failed", function)
            return JSONResponse({"error": f"{function} failed; its log says why"}, 500)
        return Response(status_code=202)

    async def healthy(_: Request) -> Response:
        return JSONResponse({"function": function, "status": "ok"})

    routes = [Route("/", receive, methods=["POST"])]
    routes += [Route(path, healthy) for path in ("/healthz", "/readyz")]
    return Starlette(routes=routes)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            mend = "send less, or a reference to stored data"
            raise Reject(Fault("body", f"over {MAX_BODY} bytes", mend))
    return bytes(body)


def _rejected(rejected: Reject) -> Response:
    faults: list[dict[str, Any]] = [
        {"field": one.field, "value": one.value, "mend": one.mend} for one in rejected.faults
    ]
    return JSONResponse({"error": str(rejected), "faults": faults}, 400)


def main(argv: list[str] | None = None) -> None:
    """Serve one function of the home whose settings the environment holds."""
    parser = argparse.ArgumentParser(description="Serve one function behind HTTP.")
    parser.add_argument("function", choices=sorted(FUNCTIONS))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    chosen = parser.parse_args(argv)
    from .local.host import function_host, warm

    host = function_host()
    warm(chosen.function)
    uvicorn.run(function_app(chosen.function, host), host=chosen.host, port=chosen.port, log_level="warning")


if __name__ == "__main__":
    main()
