"""The one who stands at the doors: an ASGI app around an app.

In this order, cheapest first, so that a flood costs least: the path, the size of the headers, the client's
own rate, the credential, the announced size, then the body as it arrives, and its signature. The door's rate
for all counts only who may come in, or strangers could use it up. Who is refused gets JSON with the mend.

On loopback a door is open until it is given a token, a signature or OIDC; elsewhere (`open_doors=False`) a
door without any is shut. What no door covers answers 404; `open_paths` (probes) need nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..errors import Retry
from .body import Exchange
from .door import Door
from .limits import Buckets, Limits, client_key
from .paths import Prefixes, is_plain, route_path
from .refusal import (
    App,
    Headers,
    Receive,
    Refused,
    Scope,
    Send,
    busy,
    headers_too_large,
    no_door,
    other_door,
    too_large,
    too_often,
    two_ways,
    unknown_sender,
)
from .signatures import Signature, Signatures
from .tokens import Tokens
from .watch import Watch

PROBES = frozenset({"/healthz", "/readyz"})


class Post:
    """A door with what the guard keeps at it."""

    __slots__ = ("clients", "crowd", "door")

    def __init__(self, door: Door) -> None:
        self.door = door
        self.clients = Buckets(door.rate) if door.rate else None
        self.crowd = Buckets(door.total) if door.total else None

    def greet(self, client: tuple[str, int] | None) -> None:
        """Raises Refused when this client comes too often."""
        if self.clients is not None and (wait := self.clients.take(client_key(client))):
            raise too_often(self.door.name, wait)

    def admit(self) -> None:
        """Raises Refused when all who may come in come too often."""
        if self.crowd is not None and (wait := self.crowd.take("")):
            raise too_often(self.door.name, wait)


class Guard:
    """`doors` maps path prefixes to doors; one Door at several prefixes shares its rates."""

    def __init__(
        self,
        app: App,
        doors: Mapping[str, Door],
        tokens: Tokens,
        *,
        signatures: Signatures | None = None,
        limits: Limits | None = None,
        open_doors: bool = True,
        open_paths: Collection[str] = PROBES,
    ) -> None:
        self._app, self._tokens, self._signatures = app, tokens, signatures
        self._limits = limits or Limits()
        self._watch = Watch(self._limits.body_seconds)
        posts = {door.name: Post(door) for door in doors.values()}
        self._posts = Prefixes({prefix: posts[door.name] for prefix, door in doors.items()})
        self._open_doors, self._open_paths = open_doors, frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                await self._http(scope, receive, send)
            except Refused as refused:
                await refused.answer(send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = route_path(scope)
        if path in self._open_paths:
            return await self._app(scope, receive, send)
        post = self._post(path)
        door, limits = post.door, self._limits
        bearer, length = self._read(scope["headers"])
        post.greet(scope.get("client"))
        signed = self._signed(door, scope["headers"])
        if self._asks(door) and scope["method"] not in door.open_methods:
            await self._credential(door, bearer, signed)
        most = limits.max_body if door.max_body is None else door.max_body
        # Digits alone can be more than Python turns into a number; so many are too large anyway.
        if length and (len(length) > 18 or (length.isdigit() and int(length) > most)):
            raise too_large(most)
        exchange = Exchange(receive, send, most, self._watch)
        try:
            if signed:
                return await self._check_signature(post, signed, scope, exchange)
            post.admit()
            await self._app(scope, exchange.receive, exchange.send)
        except Refused:
            raise
        except Exception:
            # Starlette raises when its client is gone, which is what it was told once the guard had answered.
            if not exchange.refused:
                raise
        finally:
            exchange.done()

    def _post(self, path: str) -> Post:
        if not is_plain(path):
            raise two_ways()
        post = self._posts.find(path)
        if post is None:
            raise no_door()
        return post

    def _read(self, headers: Headers) -> tuple[bytes | None, bytes]:
        """The bearer token (None without an Authorization header) and the announced length."""
        limits, size, authorization, length = self._limits, 0, None, b""
        for name, value in headers:
            size += len(name) + len(value)
            if name == b"authorization":
                # Two of them could be read in two ways, so they are no token at all.
                authorization = value if authorization is None else b""
            elif name == b"content-length":
                length = value
        if len(headers) > limits.max_headers or size > limits.max_header_bytes:
            raise headers_too_large(len(headers), size, limits.max_headers, limits.max_header_bytes)
        if authorization is None:
            return None, length
        return authorization[7:].strip() if authorization[:7].lower() == b"bearer " else b"", length

    def _signed(self, door: Door, headers: Headers) -> Signature | None:
        """The door's signature, where this request carries one that has to be checked."""
        signature = self._signatures.of(door.name) if self._signatures else None
        return signature if signature and any(name == signature.header for name, _ in headers) else None

    async def _credential(self, door: Door, bearer: bytes | None, signed: Signature | None) -> None:
        """Let through who has a token. Every credential that is there has to hold: one with a signature and
        no token passes here, for its body is still to be read. Raises Refused."""
        if bearer is None and signed:
            return
        if bearer:
            opens = self._tokens.door_of(bearer)
            if opens == door.name:
                return
            if opens:
                raise other_door(door.name)
            if door.oidc and await self._oidc(door, bearer):
                return
        raise unknown_sender(door.name)

    def _asks(self, door: Door) -> bool:
        if not self._open_doors or door.oidc or self._tokens.closed(door.name):
            return True
        return bool(self._signatures and self._signatures.of(door.name))

    async def _oidc(self, door: Door, bearer: bytes) -> bool:
        try:
            return bool(door.oidc and await door.oidc.accepts(bearer))
        except Retry as retry:
            raise busy(retry.after) from None

    async def _check_signature(
        self, post: Post, signature: Signature, scope: Scope, exchange: Exchange
    ) -> None:
        body = await exchange.whole()
        if body is None or not self._signatures:
            return
        named = dict(scope["headers"])
        repeated = sum(name in (signature.header, signature.timestamp_header) for name, _ in scope["headers"])
        expected = 2 if signature.timestamp_header else 1
        if repeated != expected or not self._signatures.holds(signature, named, body):
            raise unknown_sender(post.door.name)
        post.admit()
        await self._app(scope, exchange.again(body), exchange.send)
        if 200 <= exchange.status < 300:
            self._signatures.taken(signature, named)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same questions, but for a body. A refusal before the handshake answers 403."""
        try:
            post = self._post(route_path(scope))
            bearer, _ = self._read(scope["headers"])
            post.greet(scope.get("client"))
            if self._asks(post.door):
                await self._credential(post.door, bearer, None)
            post.admit()
        except Refused:
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._app(scope, receive, send)
