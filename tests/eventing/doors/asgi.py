"""A request to an ASGI app without a server, as bytes in and bytes out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

Message = MutableMapping[str, Any]
App = Callable[..., Awaitable[None]]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def faults(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = orjson.loads(self.body)["faults"]
        return found


class Counting:
    """The app behind the guard: reads the body to its end, answers 202 and remembers."""

    def __init__(self, status: int = 202) -> None:
        self.status = status
        self.bodies: list[bytes] = []
        self.scopes: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope["type"])
        if scope["type"] != "http":
            return
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.bodies.append(bytes(body))
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def ask(
    app: App,
    path: str = "/",
    headers: Mapping[str, str] | Sequence[tuple[bytes, bytes]] = {},
    body: bytes | Sequence[bytes | float] = b"",
    method: str = "POST",
    client: tuple[str, int] | None = ("127.0.0.1", 1),
    root_path: str = "",
) -> Answer:
    """Send one request; a number among the body's parts is a pause in seconds."""
    raw = (
        [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        if isinstance(headers, Mapping)
        else list(headers)
    )
    parts = [body] if isinstance(body, bytes) else list(body)
    sent: list[Message] = []

    async def receive() -> Message:
        part = parts.pop(0) if parts else None
        if isinstance(part, float):
            await asyncio.sleep(part)
            return await receive()
        if part is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": root_path,
        "headers": raw,
        "client": client,
    }
    await app(scope, receive, send)
    starts = [one for one in sent if one["type"] == "http.response.start"]
    assert len(starts) == 1, sent
    named = {name.decode(): value.decode() for name, value in starts[0]["headers"]}
    return Answer(starts[0]["status"], named, b"".join(one.get("body", b"") for one in sent))


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}
