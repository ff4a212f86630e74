"""The weighted router in front of every revision: what KServe's canaryTrafficPercent does in a cluster.

    POST /{detector}/v1/models/{name}:predict      POST /{detector}/v2/models/{name}/infer

A request goes to the canary with the probability of its percentage, otherwise to the stable revision; those
of one series stay together (see `sides`). While the canary is a shadow, stable answers all, and the canary
gets copies afterwards (see `shadow`). A client never sees a canary fail: whatever the canary refuses, breaks
or delays is asked of the stable revision as well, and counted against the canary. Routes are swapped
whole between two requests, so none is lost.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

import aiohttp
from prometheus_client import CollectorRegistry, Counter
from starlette.types import Receive, Scope, Send

from homeostat.eventing.errors import Fault, shown

from .exchange import Ask, Refused, Reply
from .meter import Meters
from .payload_log import PayloadLog
from .shadow import Shadows
from .sides import Backend, Route, chosen

MAX_BODY = 16 * 1024 * 1024
MAX_IN_FLIGHT = 512
RETRY_AFTER_SECONDS = 2
CANARY_TIMEOUT = aiohttp.ClientTimeout(total=5)
STABLE_TIMEOUT = aiohttp.ClientTimeout(total=30)
# Shorter than the 65 s of KServe's server, so that no request meets a connection that is being closed.
KEEP_ALIVE_SECONDS = 30

_MODEL = r"models/[A-Za-z0-9._-]+"
# Only inference and probes: a model server also unloads its model when it is asked to.
_METHODS = {
    "POST": re.compile(rf"v1/{_MODEL}:predict|v2/{_MODEL}/infer"),
    "GET": re.compile(rf"v1/models|v1/{_MODEL}|v2|v2/{_MODEL}|v2/{_MODEL}/ready|v2/health/(live|ready)"),
}
_NOT_FORWARDED = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer"
    b" transfer-encoding upgrade host content-length expect date server".split()
)


class Router:
    """An ASGI app. `choice` and the timeouts are parameters for tests; `payloads` may be set later."""

    def __init__(
        self,
        *,
        choice: random.Random | None = None,
        payloads: PayloadLog | None = None,
        max_body: int = MAX_BODY,
        canary_timeout: aiohttp.ClientTimeout = CANARY_TIMEOUT,
        stable_timeout: aiohttp.ClientTimeout = STABLE_TIMEOUT,
    ) -> None:
        self.registry = CollectorRegistry()
        self.meters = Meters(self.registry)
        self.payloads = payloads
        self._refused = Counter(
            "homeostat_router_refused",
            "Requests that reached no revision",
            ["status"],
            registry=self.registry,
        )
        self._choice = choice or random.Random()  # noqa: S311 - a weight, not a secret
        self._max_body = max_body
        self._timeouts = {"default": stable_timeout, "canary": canary_timeout}
        self._routes: dict[str, Route] = {}
        self._shadows = Shadows(self._copied, self.meters)
        self._in_flight = 0
        self._session: aiohttp.ClientSession | None = None

    # --- what the serving engine says --------------------------------------------------------------------
    def route(self, detector: str, route: Route) -> None:
        """Send the detector's next requests there. Requests in flight finish where they are."""
        self._routes[detector] = route
        self._shadows.seek(detector, route)

    def routes(self) -> Mapping[str, Route]:
        return dict(self._routes)

    async def close(self) -> None:
        await self._shadows.close()
        if self._session:
            await self._session.close()
            self._session = None

    # --- what clients say --------------------------------------------------------------------------------
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        revision = b""
        try:
            if self._in_flight >= MAX_IN_FLIGHT:
                raise _unavailable("router", f"busy with {MAX_IN_FLIGHT} requests", "send fewer at a time")
            self._in_flight += 1
            try:
                detector, path = self._address(scope)
                ask = await self._read(scope, receive, path)
                reply, backend = await self._answer(detector, ask)
            finally:
                self._in_flight -= 1
            revision = backend.revision.encode()
        except Refused as refused:
            self._refused.labels(refused.reply.status).inc()
            reply = refused.reply
        except ConnectionResetError:
            return  # the client went away before its request was complete
        try:
            await _send(send, reply, revision)
        finally:  # a series goes on in its shadow, even where the client went away
            if revision:
                self._shadows.copy(detector, ask, reply)

    def _address(self, scope: Scope) -> tuple[str, str]:
        full: str = scope["path"].removeprefix(scope.get("root_path", ""))
        detector, _, path = full.lstrip("/").partition("/")
        if detector not in self._routes:
            known = ", ".join(sorted(self._routes)) or "none yet"
            raise Refused(404, Fault("detector", shown(detector), f"known detectors: {known}"))
        allowed = [method for method, paths in _METHODS.items() if paths.fullmatch(path)]
        if not allowed:
            mend = "POST to v1/models/{name}:predict or v2/models/{name}/infer; GET v2/health/ready"
            raise Refused(404, Fault("path", shown(path), mend))
        if scope["method"] not in allowed:
            fault = Fault("method", shown(scope["method"]), f"use {allowed[0]} here")
            raise Refused(405, fault, (b"allow", allowed[0].encode()))
        return detector, path

    async def _read(self, scope: Scope, receive: Receive, path: str) -> Ask:
        headers = [(name.lower(), value) for name, value in scope["headers"]]
        ask = Ask(scope["method"], path, headers, b"")
        length = ask.header(b"content-length")
        if length.isdecimal() and int(length) > self._max_body:
            raise self._too_large(length)
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError
            body += message.get("body", b"")
            if len(body) > self._max_body:
                raise self._too_large(f"over {self._max_body}")
            if not message.get("more_body"):
                return Ask(ask.method, path, headers, bytes(body))

    def _too_large(self, size: str) -> Refused:
        return Refused(413, Fault("body", f"{size} bytes", f"send at most {self._max_body} bytes at a time"))

    # --- between the two ---------------------------------------------------------------------------------
    async def _answer(self, detector: str, ask: Ask) -> tuple[Reply, Backend]:
        route = self._routes[detector]
        backend = chosen(detector, route, ask, self._choice.random)
        if backend is None:
            raise _unavailable("revision", "not ready", f"{detector} has no ready revision yet; try again")
        if backend is not route.canary:
            reply = await self._attempt(detector, backend, ask, "default")
            self.meters.count(detector, backend.revision, reply.outcome)
            endpoint = "default"
        else:
            reply, backend, endpoint = await self._try_canary(detector, backend, ask)
        if self.payloads and ask.method == "POST":
            self.payloads.record(detector, endpoint, ask, reply)
        return reply, backend

    async def _try_canary(self, detector: str, canary: Backend, ask: Ask) -> tuple[Reply, Backend, str]:
        reply = await self._attempt(detector, canary, ask, "canary")
        # Looked up only now: the route may have changed while the canary was thinking.
        stable = self._routes[detector].stable
        if reply.status < 400 or stable is None or stable.revision == canary.revision:
            self.meters.count(detector, canary.revision, reply.outcome)
            return reply, canary, "canary"
        second = await self._attempt(detector, stable, ask, "default")
        self.meters.count(detector, stable.revision, second.outcome)
        # A refusal that the stable revision shares is the client's own; any other is the canary's.
        agreed = reply.status < 500 and second.status >= 400
        self.meters.count(detector, canary.revision, "rejected" if agreed else "error")
        return second, stable, "default"

    async def _attempt(self, detector: str, backend: Backend, ask: Ask, endpoint: str) -> Reply:
        with self.meters.timed(detector, backend.revision):
            return await self._exchange(backend, ask, endpoint)

    async def _copied(self, backend: Backend, ask: Ask) -> Reply:
        return await self._exchange(backend, ask, "canary")

    async def _exchange(self, backend: Backend, ask: Ask, endpoint: str) -> Reply:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS),
                skip_auto_headers=("accept-encoding", "user-agent", "content-type"),
            )
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in ask.headers
            if name not in _NOT_FORWARDED
        ]
        try:
            async with self._session.request(
                ask.method,
                f"{backend.url}/{ask.path}",
                data=ask.body if ask.method == "POST" else None,
                headers=headers,
                timeout=self._timeouts[endpoint],
                allow_redirects=False,
            ) as response:
                body = await response.read()
                kept = [one for one in response.raw_headers if one[0].lower() not in _NOT_FORWARDED]
                return Reply(response.status, kept, body)
        except TimeoutError:
            mend = f"gave no answer in {self._timeouts[endpoint].total:g} s; send fewer rows"
            return Refused(504, Fault("revision", shown(backend.revision), mend)).reply
        except (aiohttp.ClientError, OSError) as error:
            reason = f"cannot be reached ({type(error).__name__}); it is started again, try later"
            return _unavailable("revision", shown(backend.revision), reason).reply


def _unavailable(field: str, value: str, mend: str) -> Refused:
    return Refused(503, Fault(field, value, mend), (b"retry-after", str(RETRY_AFTER_SECONDS).encode()))


async def _send(send: Send, reply: Reply, revision: bytes) -> None:
    headers = [*reply.headers, (b"content-length", str(len(reply.body)).encode())]
    if revision:
        headers.append((b"x-homeostat-revision", revision))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
