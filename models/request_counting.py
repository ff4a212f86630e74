"""Inference requests, counted where they are answered: by outcome and by the time that they took.

On one machine a router stands before the revisions and counts; on a cluster nobody of ours does. What never
gets here is not counted: a container that died, or the 503 and 504 of Knative's queue-proxy and activator.
The first shows in the container's restarts; the others in fewer requests, and a canary that is asked too
little is never promoted.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from grpc import StatusCode, aio
from grpc_interceptor.server import AsyncServerInterceptor
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Answered = Callable[[str, float], None]
"""One of `predictor_metrics.OUTCOMES`, and the seconds until the answer was there."""

_MODELS = ("/v1/models/", "/v2/models/")
_REJECTED = (StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND, StatusCode.UNIMPLEMENTED)


class Counted:
    """An ASGI app, and a count of what it answers. Probes and the like are GETs, and no requests."""

    def __init__(self, app: ASGIApp, answered: Answered) -> None:
        self._app, self._answered = app, answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(_MODELS):
            await self._app(scope, receive, send)
            return
        status, gone, begun = 0, False, perf_counter()

        async def heard() -> Message:
            nonlocal gone
            message = await receive()
            gone = gone or message["type"] == "http.disconnect"
            return message

        async def said(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, heard, said)
        finally:
            # Who left before the request was complete was not answered, and that is nobody's error.
            if not gone or 0 < status < 500:
                self._answered(_outcome(status), perf_counter() - begun)


def _outcome(status: int) -> str:
    """Without a status nothing was answered, and the server says 500."""
    return "ok" if 0 < status < 400 else "rejected" if 400 <= status < 500 else "error"


class CountedCalls(AsyncServerInterceptor):
    """The same for gRPC. Stands before the interceptor that makes statuses of exceptions."""

    def __init__(self, answered: Answered) -> None:
        self._answered = answered

    async def intercept(
        self, method: Callable[..., Any], request: Any, context: aio.ServicerContext[Any, Any], name: str
    ) -> Any:
        if not name.endswith("/ModelInfer"):
            return await method(request, context)
        begun, outcome = perf_counter(), "ok"
        try:
            return await method(request, context)
        except BaseException:
            outcome = "rejected" if context.code() in _REJECTED else "error"
            raise
        finally:
            self._answered(outcome, perf_counter() - begun)
