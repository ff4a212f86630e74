"""The broker's door: POST /{namespace}/{broker}, 202 only once the event is on disk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import orjson

from ..batch import decode_all
from ..errors import Fault, Reject, Retry, shown
from ..handshake import permission
from ..wire import WireEvent, decode_raw

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Accept = Callable[[Sequence[WireEvent]], Awaitable[None]]

_ACCEPTED = {"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"0")]}
_NOTHING = {"type": "http.response.body", "body": b""}
_JSON = (b"content-type", b"application/json")


class Answered(Exception):
    """The request ends here, with this status and these faults."""

    def __init__(self, status: int, faults: Sequence[Fault], *headers: tuple[bytes, bytes]) -> None:
        self.status, self.headers = status, headers
        self.faults = faults
        super().__init__("; ".join(map(str, faults)))


class Ingress:
    """An ASGI app, hand-made because every event of the loop passes here."""

    def __init__(self, brokers: Sequence[tuple[str, str]], accept: Accept, max_body: int) -> None:
        self.open = False
        self._paths = {f"/{namespace}/{name}" for namespace, name in brokers}
        self._accept = accept
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            self._check(scope)
            if scope["method"] == "OPTIONS":
                await _permit(scope["headers"], send)
                return
            body = await self._body(scope, receive)
            await self._accept(_events(scope["headers"], body))
        except Reject as rejected:
            await _answer(send, 400, rejected.faults)
        except Retry as retry:
            fault = Fault("broker", str(retry), "the event was not taken; send it again")
            await _answer(send, 503, [fault], (b"retry-after", b"%d" % max(1, round(retry.after))))
        except Answered as answered:
            await _answer(send, answered.status, answered.faults, *answered.headers)
        except ConnectionResetError:
            return  # the sender went away before its event was complete
        else:
            await send(_ACCEPTED)
            await send(_NOTHING)

    def _check(self, scope: Scope) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path not in self._paths:
            mend = f"brokers here: {', '.join(sorted(self._paths))}"
            raise Answered(404, [Fault("path", shown(path), mend)])
        if scope["method"] not in ("POST", "OPTIONS"):
            fault = Fault("method", shown(scope["method"]), "POST one CloudEvent, or a batch")
            raise Answered(405, [fault], (b"allow", b"OPTIONS, POST"))
        if not self.open:
            fault = Fault("broker", "not taking events", "it starts or stops; try again")
            raise Answered(503, [fault], (b"retry-after", b"1"))

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            whole: bytes = message.get("body", b"")
            if len(whole) > self._max_body:
                raise self._too_large(str(len(whole)))
            return whole
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._max_body:
            raise self._too_large(length.decode())
        body = bytearray()
        while True:
            if message["type"] == "http.disconnect":
                raise ConnectionResetError
            body += message.get("body", b"")
            if len(body) > self._max_body:
                raise self._too_large(f"over {self._max_body}")
            if not message.get("more_body"):
                return bytes(body)
            message = await receive()

    def _too_large(self, size: str) -> Answered:
        mend = f"send at most {self._max_body} bytes; put large data into storage and send its address"
        return Answered(413, [Fault("body", f"{size} bytes", mend)])


def _events(headers: Sequence[tuple[bytes, bytes]], body: bytes) -> list[WireEvent]:
    """One event, or a batch. Raises Reject."""
    try:
        return [decode_raw(headers, body)]
    except Reject:
        # Asked only now, for nearly every message is no batch.
        if not dict(headers).get(b"content-type", b"").lower().startswith(b"application/cloudevents-batch"):
            raise
    return decode_all([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers], body)


async def _permit(headers: Sequence[tuple[bytes, bytes]], send: Send) -> None:
    """Who asks first is answered as the data plane says (§ HTTP Verbs). Raises Reject."""
    asked = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    granted = [(name.encode(), value.encode("latin-1")) for name, value in permission(asked).items()]
    length = (b"content-length", b"0")
    await send({"type": "http.response.start", "status": 200, "headers": [length, *granted]})
    await send(_NOTHING)


async def _answer(send: Send, status: int, faults: Sequence[Fault], *headers: tuple[bytes, bytes]) -> None:
    document = {
        "error": "; ".join(map(str, faults)),
        "faults": [{"field": one.field, "value": one.value, "mend": one.mend} for one in faults],
    }
    body = orjson.dumps(document)
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [_JSON, length, *headers]})
    await send({"type": "http.response.body", "body": body})
