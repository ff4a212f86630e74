"""One function behind HTTP: a CloudEvent in, 202 out. One image serves any of them by name, and the gateway.

    python -m homeostat.infra.serve detect-drift --port 8081

Errors are classed for the sender: 4xx is never retried (the event ends in the dead letters with its faults),
503 carries Retry-After. `HOMEOSTAT_HOME` says in which home it serves: `local` (the default) or `cluster`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import uvicorn
from prometheus_client import generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from homeostat.eventing import wire
from homeostat.eventing.errors import Fault, Reject, Retry
from homeostat.eventing.wire import WireEvent
from homeostat.functions import FUNCTIONS

from . import logs, tracing
from .served import Served
from .shell import Host, handle

log = logging.getLogger(__name__)

MAX_BODY = 16 * 1024 * 1024
GATEWAY = "gateway"
DRAIN_SECONDS = 50
"""What is under way may end: a little less than Knative gives (`timeoutSeconds` of the Service)."""

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


def function_app(
    function: str, host: Host, served: Served | None = None, lifespan: Lifespan | None = None
) -> Starlette:
    """The ASGI app of one function: POST / takes a CloudEvent, GET /healthz and /readyz answer probes,
    /metrics what was counted."""
    served = served or Served()
    served.of(function)

    async def receive(request: Request) -> Response:
        begun = time.perf_counter()
        outcome, answer = await _answered(function, request, host, served)
        served.events.labels(function, outcome).inc()
        served.seconds.labels(function).observe(time.perf_counter() - begun)
        return answer

    routes = [Route("/", receive, methods=["POST"]), *probes(function, served)]
    return Starlette(routes=routes, lifespan=lifespan)


def probes(function: str, served: Served) -> list[Route]:
    """What Kubernetes and Prometheus ask of whatever is served."""

    async def healthy(_: Request) -> Response:
        return JSONResponse({"function": function, "status": "ok"})

    async def counted(_: Request) -> Response:
        # Gauges ask for their figures, over the network perhaps.
        text = await asyncio.to_thread(generate_latest, served.registry)
        return Response(text, media_type="text/plain; version=0.0.4")

    return [Route("/healthz", healthy), Route("/readyz", healthy), Route("/metrics", counted)]


async def _answered(function: str, request: Request, host: Host, served: Served) -> tuple[str, Response]:
    """One of `served.OUTCOMES`, and what the sender is told."""
    try:
        event = wire.decode(request.headers.items(), await _body(request))
    except Reject as rejected:
        return "rejected", _rejected(rejected)
    with logs.of_event(function, event):
        return await _handled(function, event, host, served)


async def _handled(function: str, event: WireEvent, host: Host, served: Served) -> tuple[str, Response]:
    try:
        await handle(function, event, host, served.decided)
    except Reject as rejected:
        return "rejected", _rejected(rejected)
    except Retry as later:
        after = {"retry-after": str(max(1, round(later.after)))}
        return "put off", JSONResponse({"error": str(later)}, 503, headers=after)
    except Exception:
        log.exception("%s failed", function)
        return "failed", JSONResponse({"error": f"{function} failed; its log says why"}, 500)
    return "handled", Response(status_code=202)


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
    parser = argparse.ArgumentParser(
        prog="python -m homeostat.infra.serve",
        description="Serve one function behind HTTP.",
        epilog="Example: HOMEOSTAT_HOME=cluster python -m homeostat.infra.serve roll-out --host 0.0.0.0",
    )
    parser.add_argument("function", choices=[*sorted(FUNCTIONS), GATEWAY])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    chosen = parser.parse_args(argv)
    try:
        logs.start(os.environ)
        tracing.start(os.environ)
        app = _app(chosen.function)
    except (Reject, RuntimeError) as error:
        parser.error(str(error))
    uvicorn.run(
        app,
        host=chosen.host,
        port=chosen.port,
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


def _app(function: str) -> Any:
    """Of the home that the environment names; the other one is not even imported."""
    match os.environ.get("HOMEOSTAT_HOME", "local"):
        case "local":
            from .local.host import app as local

            return local(function)
        case "cluster":
            from .cluster.host import app as cluster

            return cluster(function)
        case other:
            raise Reject(Fault("HOMEOSTAT_HOME", repr(other), "write local or cluster"))


if __name__ == "__main__":
    main()
