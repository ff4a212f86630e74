"""The gateway: one ASGI app that turns what vendors send into events, each with a stable id.

    POST /alertmanager, /grafana, /storage/{vendor}   a vendor's payload
    POST /events                                      any CloudEvent: binary, structured, batched
    OPTIONS on each of them                           CloudEvents' webhook handshake
    GET /unmatched                                    what came and belongs to no Detector
    GET /openapi.json                                 all this for machines

202 means that the broker has taken the events. Authentication and rate limits stand before it
(`eventing/doors/`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import orjson
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..batch import decode_all
from ..handshake import permission
from ..messages import AlertFired, AlertResolved, DataLanded
from ..wire import WireEvent
from . import alertmanager, grafana
from .alerts import TRUNCATED
from .answers import HANDLERS, media, only, read
from .emit import event
from .metrics import Metrics
from .openapi import document
from .storage import KEEPING, STORAGE, Keep, Store, Translate, handshake
from .storage.fields import json_value
from .translated import Translated
from .unmatched import Unmatched

Accept = Callable[[Sequence[WireEvent]], Awaitable[None]]
Match = Callable[[str], str | None]
Handler = Callable[[Request], Awaitable[Response]]

ALERTS: Mapping[str, Translate] = {
    "/alertmanager": alertmanager.translate,
    "/grafana": grafana.translate,
}


class _Gateway:
    def __init__(self, accept: Accept, match: Match, max_body: int, registry: CollectorRegistry) -> None:
        self._accept = accept
        self._match = match
        self._max_body = max_body
        self._metrics = Metrics(registry)
        self.unmatched = Unmatched()

    async def alerts(self, door: str, translate: Translate, request: Request) -> Response:
        only(request)
        facts = translate(dict(request.headers), await read(request, self._max_body))
        return await self._take(door, facts, request)

    async def notices(self, door: str, translate: Translate, request: Request) -> Response:
        """A store's notification. SNS calls its JSON text/plain."""
        only(request, "text/plain")
        body = await read(request, self._max_body)
        # Event Grid asks its own way before it sends its own schema.
        asks = request.headers.get("aeg-event-type", "").lower() == "subscriptionvalidation"
        if asks and (validation := handshake(json_value(body))):
            return JSONResponse(validation)
        return await self._take(door, translate(dict(request.headers), body), request)

    async def objects(self, door: str, keep: Keep, store: Store, request: Request) -> Response:
        """The object itself. Keeping it may take a while, and others come in meanwhile."""
        body = await read(request, self._max_body)
        facts = await asyncio.to_thread(keep, dict(request.headers), body, store)
        return await self._take(door, facts, request)

    async def _take(self, door: str, facts: Sequence[Translated], request: Request) -> Response:
        events, unmatched = [], []
        for fact in facts:
            subject = fact.subject
            if subject is None and isinstance(fact.message, DataLanded):
                # Detectors may lie in a database, or behind an API server.
                subject = await asyncio.to_thread(self._match, fact.message.uri)
            if subject is None:
                unmatched.append(fact)
            if subject is not None or not isinstance(fact.message, DataLanded):
                events.append(event(fact, subject, request.headers.get("traceparent")))
        await self._hand_over(door, events)
        # Only now: a sender that was told to come again would be counted twice.
        self.unmatched.add(door, unmatched)
        self._metrics.unmatched.labels(door).inc(len(unmatched))
        self._metrics.truncated.labels(door).inc(_truncated(facts))
        return _accepted(len(events), len(unmatched))

    async def events(self, request: Request) -> Response:
        """Any CloudEvent goes on as it came."""
        if media(request).startswith("application/cloudevents"):
            only(request)
        body = await read(request, self._max_body)
        events = decode_all(request.headers.items(), body)
        await self._hand_over("/events", events)
        return _accepted(len(events), 0)

    async def _hand_over(self, door: str, events: Sequence[WireEvent]) -> None:
        if events:
            await self._accept(events)
        self._metrics.accepted.labels(door).inc(len(events))

    async def show_unmatched(self, _: Request) -> Response:
        return Response(orjson.dumps(self.unmatched.shown()), media_type="application/json")


def gateway(
    accept: Accept,
    match: Match,
    *,
    max_body: int,
    store: Store | None = None,
    registry: CollectorRegistry | None = None,
) -> Starlette:
    """The app, to be mounted or served as it is.

    `accept` posts to the broker (it raises Reject or Retry); `match` finds the Detector of an object's
    address; `store` keeps an object that arrived as data and returns its address, without it the door for
    such objects is shut; `registry` takes the counters.
    """
    doors = _Gateway(accept, match, max_body, registry or CollectorRegistry())

    posts: dict[str, Handler] = {"/events": doors.events}
    for path, translate in ALERTS.items():
        posts[path] = partial(doors.alerts, path, translate)
    for vendor, translate in STORAGE.items():
        posts[f"/storage/{vendor}"] = partial(doors.notices, f"/storage/{vendor}", translate)
    if store:
        for vendor, keep in KEEPING.items():
            posts[f"/storage/{vendor}"] = partial(doors.objects, f"/storage/{vendor}", keep, store)

    async def described(request: Request) -> Response:
        return JSONResponse(document(request.scope.get("root_path", ""), posts))

    routes = [Route(path, _post_or_ask(take), methods=["POST", "OPTIONS"]) for path, take in posts.items()]
    routes += [Route("/unmatched", doors.show_unmatched), Route("/openapi.json", described)]
    return Starlette(routes=routes, exception_handlers=HANDLERS)


def _post_or_ask(take: Handler) -> Handler:
    async def answer(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(headers=permission(request.headers))
        return await take(request)

    return answer


def _truncated(facts: Sequence[Translated]) -> int:
    """How many alerts the group's sender left out; each of its events says it."""
    first = facts[0].message if facts else None
    return int(first.annotations.get(TRUNCATED, "0")) if isinstance(first, (AlertFired, AlertResolved)) else 0


def _accepted(accepted: int, unmatched: int) -> Response:
    return JSONResponse({"accepted": accepted, "unmatched": unmatched}, 202)
